//! Compiles LND's protos with protox (no `protoc` needed) into client and server code.

use std::error::Error;

const PROTOS: [&str; 4] = [
    "proto/lnrpc/lightning.proto",
    "proto/lnrpc/stateservice.proto",
    "proto/invoicesrpc/invoices.proto",
    "proto/routerrpc/router.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");
    let files = protox::compile(PROTOS, ["proto"])?;
    // Secrets (preimages, macaroon nonces) must not reach a log through a derived Debug.
    tonic_prost_build::configure()
        .skip_debug(["lnrpc.Invoice", "lnrpc.Payment", "lnrpc.MacaroonId", "invoicesrpc.SettleInvoiceMsg"])
        .compile_fds(files)?;
    Ok(())
}
