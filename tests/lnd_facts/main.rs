//! Facts about LND, each run against the simulator in both store modes and, on demand, against LND itself.
//!
//! `docs/REAL_LND.md` says how two nodes are set up, and what came of it. One fact at a time, because they share them:
//! `cargo test --test lnd_facts real:: -- --ignored --test-threads=1`, with these variables:
//!
//! | variable | what it holds |
//! |---|---|
//! | `LND_ADDR`, `LND_TLS_CERT` | the payee: its `https://` address and certificate file |
//! | `LND_MACAROON` | a macaroon file with `info:read invoices:read invoices:write`, of root key 7 |
//! | `LND_ADMIN_MACAROON`, `LND_INVOICE_MACAROON` | the files that LND makes by itself |
//! | `LND_PUBKEY`, `LND_NETWORK` | its identity, and `regtest` |
//! | `LND_STORE` | its database: `sqlite` (native SQL), or anything else for bbolt |
//! | `PAYER_LND_ADDR`, `PAYER_LND_TLS_CERT`, `PAYER_LND_MACAROON` | the payer, with a macaroon that may pay |
//! | `PAYER_LND_PUBKEY` | its identity |

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a fact that does not hold shall panic, also outside of a function marked as a test"
)]

mod adding;
mod credentials;
mod events;
mod faults;
mod following;
mod graph;
mod lasting;
mod node;
mod payer;
mod paying;
mod pinned;
mod simulated;

/// One test per fact and node; the real one is shared, so its tests must run one at a time.
macro_rules! facts {
    ($($theme:ident: [$($fact:ident),+ $(,)?]),+ $(,)?) => {
        mod kv {
            $($(#[tokio::test]
            async fn $fact() {
                let simulator = crate::node::simulator(super::StoreMode::Kv).await;
                super::$theme::$fact(&super::Node::simulated(&simulator, super::StoreMode::Kv).await).await;
                simulator.stop().await;
            })+)+
        }
        mod sql {
            $($(#[tokio::test]
            async fn $fact() {
                let simulator = crate::node::simulator(super::StoreMode::Sql).await;
                super::$theme::$fact(&super::Node::simulated(&simulator, super::StoreMode::Sql).await).await;
                simulator.stop().await;
            })+)+
        }
        mod real {
            $($(#[tokio::test]
            #[ignore = "needs a real LND, described by the environment"]
            async fn $fact() {
                super::$theme::$fact(&super::Node::real()).await;
            })+)+
        }
    };
}

use node::Node;
use wiretoll::lnd_simulator::settings::StoreMode;

facts! {
    adding: [
        an_added_invoice_is_signed_by_the_node_and_says_what_was_asked,
        an_invoice_has_the_feature_bits_8_14_17_and_25,
        a_new_invoice_is_open_and_unpaid,
        add_indices_count_up_by_one,
        a_preimage_cannot_be_used_twice_but_the_first_invoice_can_be_looked_up,
        a_preimage_has_32_bytes_that_are_not_all_zero,
        an_invoice_without_expiry_is_valid_for_a_day,
        an_expiry_of_a_year_is_the_longest,
        sat_and_msat_exclude_each_other,
        an_amount_cannot_be_negative,
        more_than_100_000_btc_is_refused,
        a_huge_amount_in_sat_overflows_into_a_small_one,
        an_amount_that_overflows_into_a_negative_one_is_refused,
        an_invoice_may_leave_the_amount_to_the_payer,
        a_memo_of_639_bytes_fits_and_one_more_does_not,
        with_a_description_hash_the_memo_is_kept_but_not_encoded,
        a_description_hash_has_32_bytes,
        the_final_cltv_delta_lies_between_24_and_65535,
        an_unknown_hash_is_not_found,
        a_hash_of_another_length_is_refused_by_its_length,
        lookup_v2_finds_by_hash_and_by_payment_address,
        lookup_v2_wants_a_reference_that_it_can_parse,
        cancelling_is_idempotent,
        an_unknown_invoice_cannot_be_cancelled,
        a_settled_invoice_cannot_be_cancelled,
        pages_go_forward_from_after_the_offset,
        pages_go_backward_from_before_the_offset_but_ascend_within,
        a_page_after_the_last_invoice_is_empty_with_offset_0,
        pending_pages_leave_out_what_is_final,
        pages_can_be_narrowed_by_creation_date_inclusive,
        dates_in_the_wrong_order_are_refused,
    ],
    paying: [
        a_payment_settles_the_invoice_and_counts_in_msat,
        settle_indices_count_up_by_one,
        paying_too_little_fails_and_leaves_the_invoice_open,
        paying_fifty_times_too_much_settles_and_is_reported_in_full,
        an_invoice_without_an_amount_takes_any,
        a_payer_does_not_pay_twice,
        a_cancelled_invoice_cannot_be_paid,
        a_payer_refuses_to_choose_the_amount_of_a_priced_invoice_only,
        an_expired_invoice_is_cancelled_and_only_its_own_subscriber_hears_of_it,
        a_payer_refuses_an_expired_invoice,
        a_hold_invoice_is_accepted_first_and_settled_by_its_preimage,
        a_cancelled_hold_invoice_fails_its_payment,
    ],
    following: [
        subscribing_does_not_return_before_the_first_event,
        index_0_replays_nothing,
        additions_and_settlements_are_announced_in_order,
        a_settlement_is_announced_whole,
        replay_begins_after_the_given_index,
        replay_tells_additions_first_and_settled_ones_twice,
        settlements_are_replayed_in_settle_order_on_kv_and_in_add_order_on_sql,
        cancelled_invoices_are_never_announced,
        a_settle_index_above_the_real_one_mutes_as_many_settlements,
        an_add_index_just_below_the_top_hides_additions_only,
        the_highest_index_replays_everything_on_sql_and_nothing_on_kv,
        a_single_invoice_is_told_at_once_and_to_its_end,
        a_single_invoice_that_is_final_is_told_once,
        a_single_invoice_that_is_unknown_is_silence,
        a_single_invoice_is_told_of_its_cancellation,
        the_state_of_now_comes_first,
    ],
    credentials: [
        a_client_that_takes_the_certificate_for_a_ca_is_refused,
        the_state_service_wants_no_macaroon,
        exactly_one_macaroon_is_expected,
        a_macaroon_is_lower_or_upper_case_hex,
        a_macaroon_that_was_tampered_with_is_refused,
        a_macaroon_can_be_restricted_by_its_holder,
        the_stock_invoice_macaroon_cannot_call_get_info,
        the_service_macaroon_cannot_pay,
        a_macaroon_names_its_root_key_and_permissions,
        get_info_names_the_node_and_its_network,
        a_method_that_is_not_served_is_unimplemented,
    ],
    graph: [
        an_unknown_node_is_not_found,
        what_is_no_point_of_the_curve_is_an_unknown_node,
        a_key_of_another_length_or_not_of_digits_is_refused,
        the_node_finds_itself,
        a_neighbour_is_found_with_its_alias_and_channels,
    ],
}
