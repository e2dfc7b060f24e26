//! The floor of the HTTP figures: a bare actix-web server whose one handler returns a body of the wanted size.
//!
//! It runs as a process of its own, as the service does: this program, started again with `floor`.

use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer, web};

/// Serves until the process is ended.
pub async fn serve(port: u16, body_size: usize) -> anyhow::Result<()> {
    let body = Bytes::from(vec![b'x'; body_size]);
    let server = HttpServer::new(move || {
        let bare = web::get().to(async |body: Data<Bytes>| {
            HttpResponse::Ok().content_type("application/json").body(body.get_ref().clone())
        });
        App::new().app_data(Data::new(body.clone())).route("/{path:.*}", bare)
    });
    Ok(server.tcp_nodelay(true).disable_signals().bind(("127.0.0.1", port))?.run().await?)
}
