//! The WireGuard interface and the firewall on real kernels: network namespaces, real daemons, real packets.
//!
//! Needs root, or a kernel that lets users have namespaces and `/dev/net/tun`; and Debian's `wireguard-tools
//! wireguard-go nftables iproute2 iputils-ping`. Where something is missing a test is skipped, and says so;
//! with `CI=true` it fails.
//!
//! What has gone wrong for others, and what shows that it does not here; without a path it is a test of this program:
//!
//! | pitfall | shown by |
//! |---|---|
//! | an address that is set on two peers moves without a word | `agent::scenario_32_nobody_takes_a_customers_address` |
//! | removing and adding a peer costs it its session | `peers::a_peer_is_changed_in_place_without_losing_its_session` |
//! | a restarted agent replaces all peers | `story::faults::an_agent_that_is_killed_at_any_moment_…` |
//! | an interface that is made anew loses everybody | `agent::a_server_that_was_disturbed_is_mended_in_place` |
//! | flows outlive their forward, and reach the next holder | `leases::without_a_flush_…`, `leases::with_a_flush_…`, `story::crashes::while_an_address_passes_to_another` |
//! | `conntrack -D` fails where nothing matches | `leases::with_a_flush_nothing_of_them_is_left` |
//! | one removal drops others | `story::purchase::scenario_35_an_agent_takes_away_what_has_ended_and_nothing_else` |
//! | the server's own key as a peer is ignored | `tests/it/claims.rs`: `a_server_s_own_key_is_refused` |
//! | a preshared key is not cleared by leaving it out | `peers::a_peer_is_changed_in_place_without_losing_its_session` |
//! | a list is torn when peers change meanwhile | `src/netlink.rs`: `a_list_that_changed_while_it_was_read_is_torn` |
//! | "never" is shown as 1970, an age as a time | `src/wireguard/interface/text.rs`: `an_answer_becomes_peers_without_their_endpoints` |
//! | no keep-alive, no explicit MTU, a `DNS` line, IPv6 unasked | `tests/it/claims.rs`: `scenario_37_the_config_is_whole` |
//! | routes that `wg-quick` cannot make in a container | `tests/it/claims.rs`: `options_change_the_text_and_nothing_else` |
//! | segments larger than the tunnel | `forwards::a_customer_who_asks_for_larger_segments_…` |
//! | a customer's own address is kept and told | `src/wireguard/interface/text.rs`, as above: it is never read |
//! | strict `rp_filter` on the server | all of them: the lab has it |
//! | two daemons share a socket's name | all of them: each has a `/run` of its own |
//! | "online" for longer or shorter than a session lives | nothing is called online; `tests/it/agents/mod.rs`: `the_last_handshake_is_shown_…` |
//! | another firewall beside ours drops what it does not know | `agent::what_is_set_up_wrong_is_told_at_the_start` |
//!
//! `wg-quick` reads every config here (`wg-quick strip`), with `Table = off`, too; the routes that it would make are the
//! lab's, so that a node keeps its way to the server.
//!
//! Not shown, as no part of this program meets it: one key on two machines (its endpoint flips; we never read endpoints, so
//! that nobody is told), a server's name that a client looks up only once, and how Umbrel and StartOS set their tunnels up
//! (a claim says which form of the config it is, and for whom). Nor does an agent's start try a forwarded port: it looks for
//! other firewalls' policies. The README names these among what is not there.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test ends where something is not as it should be"
)]

mod agent;
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
