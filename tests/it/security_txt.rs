//! Where whoever finds a hole is told to write to.

use crate::shop::{On, Shop};

const PATH: &str = "/.well-known/security.txt";

#[tokio::test(flavor = "multi_thread")]
async fn security_txt_names_the_operator_s_address_where_there_is_one() {
    let without = Shop::open(On::Sqlite).await.get(PATH).await;
    assert_eq!((without.status, without.error()), (404, "ERR_RESOURCE_NOT_FOUND"));
    let contact = "mailto:security@shop.example".to_owned();
    let shop = Shop::open_with(On::Sqlite, |config| config.service.security_contact = Some(contact)).await;
    let answer = reqwest::get(shop.url(PATH)).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    let expires = shop.clock.now().plus_millis(90 * 86_400_000);
    let expected = format!("Contact: mailto:security@shop.example\nExpires: {expires}\nPreferred-Languages: en\n");
    assert_eq!(answer.text().await.unwrap(), expected);
}
