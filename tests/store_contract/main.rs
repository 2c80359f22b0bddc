//! The promises of the `Store` trait, every one of them kept by every implementation.
//!
//! A promise is a function over a [`backend::Backend`]; the list below makes it a
//! test of each. A further backend implements the trait and adds one line at the end.

#![allow(unreachable_pub, missing_docs, reason = "a test binary has no outside")]
#![allow(
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics has failed, as it should"
)]

mod appending;
mod backend;
mod closing;
mod conversations;
mod erasing;
mod exporting;
mod following;
mod history;
mod marking;
mod model;
#[path = "../nats/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a toolbox is larger than today's need")]
mod nats;
mod profiles;
mod reading;
mod receipts;
mod resending;
mod revoking;
mod users;
mod walking;

macro_rules! promises {
    ($($about:ident { $($promise:ident,)* })*) => {
        macro_rules! held_to_them {
            ($backend:ident as $name:ident) => {
                mod $name {
                    $(mod $about {
                        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                        async fn $promise() {
                            crate::$about::$promise::<crate::backend::$backend>().await;
                        })*
                    })*
                }
            };
        }
    };
}

promises! {
    appending {
        ids_rise_in_an_inbox,
        two_appends_of_one_caller_keep_their_order,
        many_callers_at_once_each_keep_their_order,
        what_was_stored_comes_back_as_it_was,
        ids_rise_over_a_reopen,
        a_full_inbox_takes_no_more_until_something_was_read,
        a_full_inbox_is_still_full_after_a_reopen,
        a_full_inbox_knows_a_resend,
    }
    resending {
        an_equal_packet_is_the_same_message,
        equal_packets_in_line_together_are_one_message,
        many_tasks_with_one_packet_store_it_once,
        a_packet_is_known_after_a_reopen,
        without_a_key_every_append_is_a_message,
        a_packet_is_forgotten_after_its_window_also_when_nothing_else_happened,
        a_named_packet_is_the_same_message,
        a_name_belongs_to_its_sender,
        a_name_used_for_another_message_is_refused,
        a_name_used_twice_in_one_line_is_refused,
        a_name_is_free_again_after_its_window,
        a_later_try_is_known_at_any_age,
        an_old_name_is_free_towards_somebody_else,
        later_tries_at_once_are_one_message,
        a_name_comes_back_with_its_message,
        a_resend_changes_nothing,
    }
    reading {
        an_empty_inbox_is_read_to_its_end,
        inboxes_do_not_see_each_other,
        a_page_holds_so_many_messages,
        a_page_holds_so_many_bytes,
        one_large_message_is_a_page,
        many_senders_are_merged_by_id,
        a_span_begins_behind_its_cursor_and_ends_at_its_end,
        a_cursor_beyond_the_head_reads_nothing,
        unread_messages_are_found_among_many_read_ones,
        a_note_to_oneself_and_a_notice_of_the_system_are_messages,
    }
    marking {
        what_was_marked_is_unread_no_more,
        marks_touch_only_the_readers_own_inbox,
        unknown_and_repeated_marks_are_ignored,
        marks_may_come_in_any_order,
        every_second_message_then_the_rest,
        marks_survive_a_reopen,
        what_was_marked_stays_so_while_others_are_marked,
    }
    profiles {
        a_profile_goes_with_every_message,
        a_profile_can_be_asked_for,
        a_claim_leaves_what_it_is_silent_about,
        claims_at_once_lose_nothing_of_each_other,
        a_profile_survives_a_reopen,
    }
    exporting {
        everything_is_exported_by_id_with_its_flags,
        what_concerns_one_user_is_exported_alone,
    }
    users {
        everybody_with_a_conversation_or_a_profile_is_a_user,
        pages_of_users_meet,
    }
    receipts {
        a_mark_is_told_once_to_whom_it_concerns,
        marks_that_are_there_after_a_reopen_are_told_no_more,
        the_same_mark_at_once_is_told_once,
        up_to_a_place_means_one_senders_unread_messages,
        up_to_a_place_with_strangers_is_nothing,
        a_long_absence_is_told_in_pieces,
        a_receipt_comes_behind_its_messages_and_its_marks,
        the_connection_that_sent_is_named,
    }
    history {
        those_who_never_wrote_have_none,
        both_directions_are_one_conversation,
        pages_meet_without_gap_or_overlap,
        a_place_lies_between_what_is_older_and_what_is_newer,
        before_the_first_there_is_an_empty_page,
        notes_and_notices_have_one_direction,
        what_its_recipient_has_read_is_shown_so_to_both,
        what_is_shown_as_read_stays_so_while_others_are_marked,
        walking_on_while_messages_come_loses_none,
        a_cursor_that_nobody_made_is_refused,
    }
    conversations {
        who_wrote_with_nobody_has_an_empty_list,
        the_newest_message_of_either_comes_first,
        pages_of_the_list_meet,
        counts_know_marks_out_of_order,
        an_inbox_reaches_to_its_newest_message,
        thousands_of_peers_are_all_listed_and_read,
    }
    following {
        every_message_is_announced_once_and_in_order,
        previous_names_the_message_before,
        following_the_tail_misses_nothing_even_where_announcements_are_missed,
        an_announcement_is_never_ahead_of_what_can_be_read,
        nobody_listening_stops_nothing,
    }
    revoking {
        a_new_store_has_taken_nothing_back,
        what_was_revoked_stays_so_over_a_reopen,
        a_user_is_disabled_until_enabled,
        the_last_word_on_a_user_counts,
        what_is_over_is_forgotten,
        every_node_hears_of_it,
    }
    closing {
        receipts_in_line_are_answered,
        later_calls_are_unavailable,
        what_was_acknowledged_is_there_after_a_reopen,
        what_a_reader_has_seen_stays,
    }
    erasing {
        nothing_is_left_of_an_erased_user,
        after_an_erasure_everything_goes_on,
        a_reader_is_told_that_something_is_gone,
        an_unread_message_that_is_erased_leaves_room_in_the_inbox,
        a_resend_of_what_was_erased_is_known,
        messages_and_marks_during_an_erasure_are_wholly_before_or_after_it,
        nobody_is_told_of_an_erasure,
        a_closed_store_erases_nobody,
    }
    model {
        any_sequence_of_calls_is_as_the_model_says,
    }
}

held_to_them!(Memory as memory);
held_to_them!(Sled as sled);
held_to_them!(OnePartition as jetstream);
held_to_them!(ThreePartitions as partitioned);
