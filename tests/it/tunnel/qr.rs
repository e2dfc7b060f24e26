//! Reads a QR code as a phone does: from the picture.

/// The text in a picture of dark rectangles, as the claim's answer draws it.
pub fn text_in(svg: &str) -> String {
    let (_, drawn) = svg.split_once(" d=\"").expect("a path");
    let (drawn, _) = drawn.split_once('"').expect("a whole path");
    let dark: Vec<Rectangle> = drawn.split('M').skip(1).map(Rectangle::parse).collect();
    let size = side(svg);
    let mut dots = vec![false; size * size];
    for (x, y) in dark.iter().flat_map(Rectangle::dots) {
        dots[y * size + x] = true;
    }
    let mut picture = rqrr::PreparedImage::prepare_from_bitmap(size, size, |x, y| dots[y * size + x]);
    let codes = picture.detect_grids();
    assert_eq!(codes.len(), 1, "one code");
    codes[0].decode().expect("a code that can be read").1
}

fn side(svg: &str) -> usize {
    let (_, rest) = svg.split_once(" width=\"").expect("a width");
    rest.split('"').next().expect("a number").parse().expect("a number")
}

struct Rectangle {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Rectangle {
    /// `8 16h4v4H8V16`
    fn parse(drawn: &str) -> Self {
        let numbers: Vec<usize> = drawn.split([' ', 'h', 'v', 'H', 'V']).map(|it| it.parse().expect(drawn)).collect();
        Self { left: numbers[0], top: numbers[1], width: numbers[2], height: numbers[3] }
    }

    fn dots(&self) -> impl Iterator<Item = (usize, usize)> {
        let across = move |y| (self.left..self.left + self.width).map(move |x| (x, y));
        (self.top..self.top + self.height).flat_map(across)
    }
}
