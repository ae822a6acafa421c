//! Many questions on one stream.

use super::{DOMAIN, create};
use crate::support::{
    clients::{
        callers::Bearer,
        questions::{Questions, error_code, framed, framed_message, send_bytes},
    },
    directory, eventually,
    server::{
        Server, command,
        scrape::{METRICS, Scrape},
        sqlite_in,
    },
};
use keyservice::grpc::proto::{
    authorize_response::Decision, authorize_stream_response::Answer, denial::Reason,
};
use std::time::{Duration, Instant};
use tonic::{Code, Request};

async fn start(args: &[&str]) -> (Server, tempfile::TempDir) {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), args, &[]).await;
    (server, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_gets_the_answer_of_an_authorize_in_its_order() {
    let (server, _directory) = start(&[METRICS]).await;
    let mut client = server.client().await;
    let key = create(&mut client, |_| {}).await;
    let restricted = create(&mut client, |request| request.domain = Some(DOMAIN.into())).await;
    let revoked = create(&mut client, |_| {}).await;
    client.revoke(&revoked.key_id).await.expect("revoked");
    let questions = [
        (key.token.as_str(), DOMAIN),
        (&restricted.token, "EXAMPLE.com."),
        (&restricted.token, "other.example"),
        (&revoked.token, DOMAIN),
        ("tsend_nonsense", DOMAIN),
        (&key.token, "someone@example.com"),
        (&key.token, ""),
        ("", "bücher.example"),
    ];
    let before = Scrape::of(&server);

    let mut stream = Questions::open(server.channel().await).await;
    // Enough for several frames, so that there are batches that end anywhere.
    let asked: Vec<_> = (1..1000).zip(questions.iter().cycle()).collect();
    for (id, (token, domain)) in &asked {
        stream.ask(*id, token, domain);
    }
    for (id, (token, domain)) in &asked {
        let (answered, answer) = stream.next().await.expect("no error").expect("no end");
        assert_eq!(answered, *id);
        match (client.authorize(token, domain).await, answer) {
            (Ok(Decision::Grant(expected)), Answer::Grant(grant)) => assert_eq!(grant, expected),
            (Ok(Decision::Denial(expected)), Answer::Denial(denial)) => {
                assert_eq!(denial, expected);
            }
            (Err(expected), Answer::Error(error)) => {
                assert_eq!(error.code, i32::from(expected.code()));
                assert_eq!(error.message, expected.message());
                assert_eq!(error.details.len(), 1, "the field is named");
            }
            (expected, answer) => panic!("{answer:?} instead of {expected:?}"),
        }
    }
    stream.close();
    assert_eq!(stream.next().await.expect("OK"), None);

    eventually("the stream is counted as one call", async || {
        Scrape::of(&server).calls("AuthorizeStream", "OK") == 1.0
    })
    .await;
    let after = Scrape::of(&server);
    // Each was asked twice, and those with an invalid domain are no decisions.
    let decided = asked
        .iter()
        .filter(|(_, (_, domain))| !domain.is_empty() && !domain.contains('@'));
    let decisions = after.decisions() - before.decisions();
    assert_eq!(decisions, 2.0 * decided.count() as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_holds_from_the_next_question_on() {
    let (server, _directory) = start(&[]).await;
    let mut client = server.client().await;
    let mut stream = Questions::open(server.channel().await).await;
    for _ in 0..100 {
        let (token, key_id) = client.create_key().await;
        let granted = stream.answer(&token, DOMAIN).await;
        assert!(matches!(granted, Answer::Grant(_)), "{granted:?}");
        client.revoke(&key_id).await.expect("revoked");
        let Answer::Denial(denial) = stream.answer(&token, DOMAIN).await else {
            panic!("it is revoked");
        };
        assert_eq!(denial.reason(), Reason::Revoked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_ends_the_stream_behind_the_answers_before_it() {
    let (server, _directory) = start(&["--message-timeout=1s"]).await;
    let channel = server.channel().await;
    let question = framed(1, "", DOMAIN);
    let two = question.repeat(2);
    let half = &question[..question.len() - 1];
    let compressed = [&[1], &question[1..]].concat();
    let large = framed(1, &"a".repeat(4096), DOMAIN);
    let no_protobuf = framed_message(b"\xff");
    let no_utf8 = framed_message(b"\x12\x01\xff");
    for (what, wrong, goes_on, code, says) in [
        ("nothing", &[][..], false, Code::Ok, ""),
        (
            "a half message",
            half,
            false,
            Code::InvalidArgument,
            "within a message",
        ),
        (
            "one whose rest does not come",
            half,
            true,
            Code::Cancelled,
            "--message-timeout",
        ),
        (
            "half a prefix",
            &question[..3],
            true,
            Code::Cancelled,
            "--message-timeout",
        ),
        (
            "a compressed one",
            &compressed,
            true,
            Code::InvalidArgument,
            "compressed",
        ),
        ("no frame", b"{}", true, Code::InvalidArgument, "framed"),
        (
            "no protobuf",
            &no_protobuf,
            true,
            Code::InvalidArgument,
            "protobuf",
        ),
        (
            "no UTF-8",
            &no_utf8,
            true,
            Code::InvalidArgument,
            "protobuf",
        ),
        (
            "a large one",
            &large[..9],
            true,
            Code::ResourceExhausted,
            "the limit is 4096",
        ),
    ] {
        let bytes = [&two, wrong].concat();
        let (answers, status) = send_bytes(channel.clone(), &bytes, goes_on).await;
        assert_eq!((answers, status.code()), (2, code), "{what}: {status}");
        assert!(status.message().contains(says), "{what}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_stream_that_is_quiet_or_busy() {
    let (server, _directory) = start(&[]).await;
    for is_busy in [false, true] {
        let mut request = Request::new(());
        request.set_timeout(Duration::from_secs(1));
        let opened = Questions::open_with(server.channel().await, Bearer::none(), request).await;
        let (mut stream, began) = (opened.expect("opened"), Instant::now());
        stream.ask(0, "", DOMAIN);
        let status = loop {
            match stream.next().await {
                Ok(Some((id, _))) if is_busy => stream.ask(id + 1, "", DOMAIN),
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended with OK"),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert!(began.elapsed() > Duration::from_millis(900), "{status}");
    }
}

/// Asks without a pause, 100 questions ahead, until the stream ends. Returns how many were not answered.
async fn ask_until_ended(mut stream: Questions) -> u64 {
    let mut asked = 0;
    loop {
        while asked % 100 != 0 || asked == 0 {
            asked += 1;
            stream.ask(asked, "", DOMAIN);
        }
        match stream.next().await.expect("it ends with OK") {
            Some((id, answer)) => {
                assert_eq!(error_code(&answer), None);
                if id == asked {
                    asked += 1;
                    stream.ask(asked, "", DOMAIN);
                }
            }
            None => return asked,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_ok_at_the_age_of_its_connection_and_at_a_shutdown() {
    let directory = directory();
    let mut aging = command(&sqlite_in(&directory));
    aging.args(["--max-connection-age=1s", "--max-connection-age-grace=20s"]);
    let mut server = Server::start_command(&mut aging).await;
    let began = Instant::now();
    ask_until_ended(Questions::open(server.channel().await).await).await;
    assert!(
        (1..10).contains(&began.elapsed().as_secs()),
        "its age is one second"
    );

    let (mut server_to_end, _directory) = start(&[]).await;
    let asking = tokio::spawn(ask_until_ended(
        Questions::open(server_to_end.channel().await).await,
    ));
    let mut quiet = Questions::open(server_to_end.channel().await).await;
    quiet.answer("", DOMAIN).await;
    server_to_end.signal("TERM");
    let began = Instant::now();
    asking.await.expect("it ends with OK");
    assert_eq!(quiet.next().await.expect("OK"), None);
    assert!(server_to_end.wait_for_exit().await.success());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "no stream holds it up"
    );
    server.signal("TERM");
    assert!(server.wait_for_exit().await.success());
}
