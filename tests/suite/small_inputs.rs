//! The small inputs that once broke this service or others like it, and the tests that run them.
//!
//! Each test stands beside its likes. This table finds it, and shows that no input has lost its test, and
//! that the test is one that runs.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What is put in, what has to come of it, and the tests that say so. A path that ends with `::` stands
/// for all tests of a module.
const INPUTS: &[(&str, &str, &[&str])] = &[
    (
        "standard error is a full pipe of 64 KiB that nobody reads, and 140 Creates come",
        "every call is answered, and a second signal ends the process",
        &[
            "calls_are_answered_and_the_log_tells_what_it_lost_when_it_is_read_again",
            "a_signal_lets_calls_in_flight_finish_and_a_second_one_ends_the_process_at_once",
        ],
    ),
    (
        "the collector of traces, or a scraper of metrics, does not read",
        "nothing waits for it",
        &[
            "an_absent_or_silent_collector_delays_neither_calls_nor_the_shutdown",
            "a_scrape_succeeds_beside_a_thousand_hostile_connections",
        ],
    ),
    (
        "sslrootcert=system with sslmode=prefer, require or disable",
        "refused, as in libpq 16",
        &["the_roots_of_the_system_count_only_where_the_name_is_verified"],
    ),
    (
        "CREATE DATABASE … ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
        "refused at the start, with what to do",
        &["a_database_that_is_not_utf_8_is_refused_and_not_changed"],
    ),
    (
        "a standby, missing rights, a trigger that swallows writes, too little room",
        "refused at the start or warned of",
        &[
            "a_standby_is_refused_until_it_is_promoted",
            "a_database_that_would_fail_later_is_refused_with_what_to_do",
            "what_only_may_hurt_is_a_warning",
        ],
    ),
    (
        "Lists of 850 kB with an HTTP/2 window of 0, and every other method, by every role",
        "memory keeps within the bound that docs/abuse.md states",
        &[
            "the_memory_for_answers_has_its_bound_for_every_method_and_every_role",
            "an_answer_that_is_not_taken_in_time_costs_its_client_the_connection",
        ],
    ),
    (
        "thousands of questions on AuthorizeStream by a client that takes no answers",
        "no more is read, a stream takes 64 KiB at most, and a shutdown does not wait for it",
        &[
            "a_client_that_takes_no_answers_is_read_no_more_until_it_takes_them",
            "answers_that_are_not_taken_in_time_cost_their_client_the_connection",
            "a_stream_whose_client_takes_nothing_holds_up_no_shutdown",
        ],
    ),
    (
        "half a question, three bytes of one, a large one, or JSON behind two questions",
        "two answers, and the status that says what is wrong",
        &["what_cannot_be_read_ends_the_stream_behind_the_answers_before_it"],
    ),
    (
        "the files beside an SQLite database are removed, or it has another name or mount, and a second \
         process starts",
        "refused: the database is in use",
        &[
            "the_lock_is_on_the_database_and_not_on_a_file_beside_it",
            "an_sqlite_file_cannot_be_opened_under_a_second_name",
            "an_sqlite_file_cannot_be_opened_through_another_mount",
        ],
    ),
    (
        "rm keyservice.db* while the service runs",
        "no further write is acknowledged, and grants end",
        &[
            "no_write_to_a_lost_database_is_acknowledged",
            "grants_end_soon_when_the_database_is_lost_and_nothing_is_written",
        ],
    ),
    (
        "a body in JSON, a message cut short, an unknown compression flag, a message that is late",
        "INVALID_ARGUMENT, or CANCELLED for the late one, and no alert",
        &[
            "a_body_that_cannot_be_read_is_the_clients_mistake",
            "a_late_message_counts_as_its_clients_fault",
            "alerts_and_dashboard_name_only_existing_metrics_and_promtool_accepts_them",
        ],
    ),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://user:hunter2@h:4317 with a newline behind it, and secrets in \
         every other setting",
        "trimmed, and never repeated",
        &[
            "an_endpoint_may_have_a_password_and_a_lines_end",
            "no_variable_of_opentelemetry_is_repeated",
            "no_setting_of_the_service_is_repeated",
            "no_setting_of_another_command_is_repeated",
        ],
    ),
    (
        "60 Creates at once through PgBouncer in transaction mode, without prepared statements",
        "UNAVAILABLE, and one line with advice",
        &[
            "a_start_refuses_a_pooler_that_loses_prepared_statements",
            "a_pooler_in_session_mode_works",
        ],
    ),
    (
        "CONNECTION LIMIT 8 and 60 Creates at once",
        "each waits for a connection and succeeds, and the log warns",
        &["sixty_creates_at_once_wait_for_the_five_connections_that_are_left_for_calls"],
    ),
    (
        "cp of the .db alone, and a restore beside an old -wal",
        "a warning, and a refusal",
        &[
            "a_plain_copy_of_a_database_in_use_is_served_with_a_warning",
            "a_backup_beside_a_log_of_later_writes_is_refused_and_neither_is_changed",
            "the_database_of_another_service_beside_a_log_is_refused",
            "the_log_says_what_was_found_at_the_start",
            "the_documents_show_the_commands_that_are_tested_here",
        ],
    ),
    (
        "sqlite://keyservice.db and sqlite:e.db?mode=rwc",
        "refused, with what is meant",
        &["an_sqlite_store_is_a_plain_path_and_anything_else_is_refused_with_advice"],
    ),
    (
        "keyservice audit in a pager, and 4,000 Creates",
        "the write-ahead log stays small",
        &[
            "a_command_left_in_a_pager_holds_nothing_open_in_sqlite",
            "a_command_left_in_a_pager_holds_nothing_open_in_postgres",
        ],
    ),
    (
        "an old snapshot in PostgreSQL",
        "a metric and an alert",
        &[
            "the_page_shows_the_dead_rows_of_leases_to_a_role_without_further_rights",
            "every_alert_has_a_test_in_which_it_fires",
        ],
    ),
    (
        "SQLSTATE 25P03, 25P04 and each other code of PostgreSQL",
        "UNAVAILABLE if it may pass, otherwise INTERNAL",
        &[
            "an_error_that_may_pass_is_unavailable_and_any_other_is_internal",
            "every_code_of_postgresql_is_known_to_pass_or_to_stay",
        ],
    ),
    (
        "a client that breaks streams without end, or takes nothing, or leaves reflection's answers",
        "its connection is closed, and memory stays small",
        &[
            "a_client_that_breaks_streams_without_end_is_closed",
            "a_client_that_takes_no_answers_is_closed_and_costs_little_until_then",
            "what_waits_for_a_stalled_stream_takes_little_memory",
        ],
    ),
    (
        "a client that stays connected and silent, and SIGTERM",
        "the process ends within a moment",
        &["silent_clients_do_not_delay_a_shutdown_and_a_call_in_flight_finishes"],
    ),
    (
        "a key of P-521 or RSA-1024, a certificate of X.509 v1, and what else is wrong with such files",
        "the error blames the right file and says what to do",
        &["each_message_blames_the_right_file_and_says_what_to_do"],
    ),
    (
        "PostgreSQL's certificate is self-signed, and is its own root",
        "accepted as libpq does, and any other fault has a plain message",
        &[
            "every_mode_root_and_certificate_does_what_it_does_with_psql",
            "a_certificate_that_is_refused_is_told_from_the_others",
        ],
    ),
    (
        "sslmode=prefer where the server has only hostnossl",
        "it connects without TLS",
        &["prefer_does_without_tls_where_the_server_lets_nobody_in_with_it"],
    ),
    (
        "a name with the flag of England, Scotland or Wales",
        "allowed",
        &["emoji_have_tags_only_in_well_formed_sequences"],
    ),
    (
        "PostgreSQL 13 and 18",
        "the conformance suite and the checks at the start pass",
        &[
            "store::conformance::on_the_oldest_postgres::",
            "store::conformance::on_the_newest_postgres::",
            "store::conformance::audit::on_the_oldest_postgres::",
            "store::conformance::audit::on_the_newest_postgres::",
            "store::conformance::changes::on_the_oldest_postgres::",
            "store::conformance::changes::on_the_newest_postgres::",
            "store::conformance::domains::on_the_oldest_postgres::",
            "store::conformance::domains::on_the_newest_postgres::",
            "a_database_that_would_fail_later_is_refused_with_what_to_do",
            "the_other_defaults_of_a_database_make_no_difference",
        ],
    ),
    (
        "a process is killed before its first write, and SQLite's file is started again",
        "no warning that writes may be missing, and a restore beside its log is still refused",
        &[
            "a_service_that_is_killed_before_its_first_write_has_lost_nothing",
            "a_backup_beside_the_log_of_a_service_that_wrote_nothing_is_refused",
        ],
    ),
    (
        "a dropped function, a disabled trigger, a foreign table in the place of a table",
        "refused at the start, as what it is",
        &[
            "the_list_of_parts_is_what_the_migrations_make",
            "a_part_that_is_missing_or_disabled_is_named_with_what_to_do",
            "an_object_in_the_place_of_a_table_is_named_as_what_it_is",
        ],
    ),
    (
        "a byte order mark, DER, TRUSTED CERTIFICATE, OPENSSH PRIVATE KEY, and their likes",
        "named, with the command that mends it",
        &[
            "another_object_is_named_with_the_command_that_mends_it",
            "another_form_is_named_with_the_command_that_mends_it",
            "a_file_with_an_object_that_would_be_passed_over_is_refused",
        ],
    ),
    (
        "a named pipe or a device as the file of any setting",
        "refused at once",
        &[
            "no_setting_takes_a_pipe_a_device_or_a_folder_for_a_file",
            "every_setting_that_names_a_file_is_tried_here",
        ],
    ),
];

#[test]
fn every_small_input_has_its_tests() {
    let (tests, ignored) = (listed(&[]), listed(&["--ignored"]));
    let unit_tests = unit_tests();
    for (input, outcome, names) in INPUTS {
        assert!(!names.is_empty(), "{input}");
        for name in *names {
            let is_it = |test: &&String| {
                test.rsplit("::").next() == Some(name)
                    || name.ends_with("::") && test.starts_with(name)
            };
            assert!(
                tests.iter().any(|test| is_it(&test)) || unit_tests.contains(*name),
                "no test {name}, for: {input}: {outcome}"
            );
            let skipped = ignored.iter().find(is_it);
            assert_eq!(skipped, None, "for: {input}: {outcome}");
        }
    }
}

/// The tests that this program runs, or with `--ignored` those that it does not run, by their paths.
fn listed(arguments: &[&str]) -> BTreeSet<String> {
    let this = env::current_exe().expect("this program");
    let list = Command::new(this)
        .args(["--list", "--format", "terse"])
        .args(arguments)
        .output()
        .expect("it runs");
    let list = String::from_utf8(list.stdout).expect("UTF-8");
    let tests = list.lines().filter_map(|line| line.strip_suffix(": test"));
    tests.map(str::to_owned).collect()
}

/// The functions in `src/` with `#[test]` or `#[tokio::test]`, which another program runs.
fn unit_tests() -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut names = BTreeSet::new();
    for file in rust_files(&source) {
        let text = fs::read_to_string(file).expect("read");
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                names.extend(rest.split_once('(').map(|(name, _)| name.to_owned()));
                is_test = false;
            }
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            assert_ne!(line, "#[ignore]");
        }
    }
    names
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let files = paths.flat_map(|path| {
        if path.is_dir() {
            rust_files(&path)
        } else {
            vec![path]
        }
    });
    files
        .filter(|path| path.extension().is_some_and(|it| it == "rs"))
        .collect()
}
