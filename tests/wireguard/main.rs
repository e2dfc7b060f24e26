//! The WireGuard interface and the firewall on real kernels: network namespaces, real daemons, real packets.
//!
//! Needs root, or a kernel that lets users have namespaces and `/dev/net/tun`; and Debian's `wireguard-tools
//! wireguard-go nftables conntrack iproute2 iputils-ping`. Where something is missing a test is skipped, and says so;
//! with `CI=true` it fails.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test ends where something is not as it should be"
)]

mod demo;
mod egress;
mod forwards;
mod lab;
mod leases;
mod peers;
#[path = "../process/mod.rs"]
mod process;
mod story;
mod usage;
