//! Plain tables for a terminal: columns as wide as what stands in them, two spaces apart.

/// One line a row, the heading first.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let heading = heading.map(str::to_owned);
    let all = || std::iter::once(&heading).chain(rows);
    let mut widths = [0; N];
    for row in all() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    all().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let rows =
            [["1".to_owned(), "für".to_owned(), "z".to_owned()], ["22".to_owned(), String::new(), "y".to_owned()]];
        assert_eq!(table(["n", "word", "x"], &rows), ["n   word  x", "1   für   z", "22        y"]);
    }
}
