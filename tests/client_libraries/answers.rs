//! The four ends of an authorize, and that none is taken for another.

use crate::{
    MACHINE, plaintext,
    support::{
        clients::driver::{Driver, LIBRARIES},
        server::{Server, command, sqlite_in},
    },
};
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

/// The libraries' own, and some time of a busy machine.
const DEADLINE: Duration = Duration::from_secs(2);

const UNKNOWN: &str = "tsend_0000000000000000000000000000000000000000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_allowed_denied_or_an_error() {
    let _shared = MACHINE.read().await;
    let directory = tempfile::tempdir().expect("a directory");
    let mut serve = command(&sqlite_in(&directory));
    let serve = serve.env_remove("KEYSERVICE_VERIFIED_DOMAINS");
    let server = Server::start_command(serve).await;
    for library in LIBRARIES {
        let driver = Driver::open(library, &plaintext(&[server.port()])).await;
        assert!(driver.is_ready().await, "{library}");
        check_answers(&driver).await;
        assert!(driver.close().await.success(), "{library}");
    }
}

async fn check_answers(driver: &Driver) {
    let library = driver.library;
    let account = format!("account-{library}");
    let (mail, other) = (format!("mail.{library}.example"), "other.example");
    let added = json!({"account_id": account, "domain": mail});
    assert_eq!(
        driver.call("add_domain", &added).await,
        json!({"added": true})
    );
    let all = create(driver, json!({"account_id": account, "name": "all"})).await;
    let one = json!({"account_id": account, "name": "one", "domain": mail});
    let one = create(driver, one).await;

    let allowed = |key: &Value, domain: Value| {
        let key_id = &key["key_id"];
        json!({"allowed": {"key_id": key_id, "account_id": account, "domain": domain}})
    };
    let denied = |reason: &str, key: Option<&Value>| {
        let key_id = key.map(|key| &key["key_id"]);
        let account = key.map(|_| &account);
        json!({"denied": {"reason": reason, "key_id": key_id, "account_id": account}})
    };
    let ask = async |key: &Value, domain: &str| {
        let token = key["token"].as_str().expect("a token");
        driver.authorize(token, domain).await
    };
    assert_eq!(ask(&all, &mail).await, allowed(&all, Value::Null));
    assert_eq!(ask(&one, &mail).await, allowed(&one, json!(mail)));
    assert_eq!(
        ask(&all, other).await,
        denied("DOMAIN_NOT_VERIFIED", Some(&all))
    );
    assert_eq!(
        ask(&one, other).await,
        denied("DOMAIN_NOT_ALLOWED", Some(&one))
    );
    for (token, reason) in [
        ("", "MALFORMED_TOKEN"),
        ("no token", "MALFORMED_TOKEN"),
        (UNKNOWN, "MALFORMED_TOKEN"),
        // More than the server takes.
        (&"é".repeat(100_000), "MALFORMED_TOKEN"),
    ] {
        assert_eq!(driver.authorize(token, &mail).await, denied(reason, None));
    }

    let revoked = driver
        .call("revoke", &json!({"key_id": all["key_id"]}))
        .await;
    assert_eq!(revoked, json!({"revoked": {"key_id": all["key_id"]}}));
    assert_eq!(ask(&all, &mail).await, denied("REVOKED", Some(&all)));

    // The soft hyphens are nothing. A domain that was cut off among them would be another one.
    let long = format!("{mail}{}x", "\u{AD}".repeat(2000));
    for domain in ["no domain", &long] {
        let misused = ask(&one, domain).await;
        assert!(misused["misused"].is_string(), "{library}: {misused}");
    }
    let nameless = json!({"account_id": account, "name": ""});
    let misused = driver.call("create", &nameless).await;
    assert!(misused["misused"].is_string(), "{library}: {misused}");
    let nobody = json!({"key_id": "key_00000000000000000000000000"});
    let refused = driver.call("revoke", &nobody).await;
    let code = refused["refused"]["code"].as_str();
    let code = code.or(refused["misused"].as_str().map(|_| "INVALID_ARGUMENT"));
    assert!(code.is_some(), "{library}: {refused}");

    let shown = driver.shown().await;
    for key in [&all, &one] {
        let token = key["token"].as_str().expect("a token");
        assert!(!shown.contains(token), "{library}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_replica_it_is_unavailable_in_time() {
    let _shared = MACHINE.read().await;
    // One refuses connections. The other accepts them and says nothing, as a process that hangs.
    let refuses = TcpListener::bind("127.0.0.1:0").expect("a port");
    let refusing = refuses.local_addr().expect("a port").port();
    drop(refuses);
    let hangs = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hanging = hangs.local_addr().expect("a port").port();
    for library in LIBRARIES {
        for ports in [&[refusing][..], &[hanging], &[refusing, hanging]] {
            let driver = Driver::open(library, &plaintext(ports)).await;
            let ready = driver.call("ready", &json!({"millis": 100})).await;
            assert_eq!(ready, json!({"ready": false}), "{library}");
            // A first call may load what the language loads late.
            driver.authorize(UNKNOWN, "mail.example.com").await;

            let asked = Instant::now();
            let answer = driver.authorize(UNKNOWN, "mail.example.com").await;
            let took = asked.elapsed();
            let text = answer["unavailable"].as_str();
            let text = text.unwrap_or_else(|| panic!("{library}: {answer}"));
            assert!(took < DEADLINE, "{library} {ports:?}: {took:?}");
            for port in ports {
                assert!(
                    text.contains(&format!("127.0.0.1:{port}")),
                    "{library}: {text}"
                );
            }
            assert!(!text.contains(UNKNOWN), "{library}: {text}");
            assert!(driver.close().await.success(), "{library}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_replica_refuses_the_connection_a_call_does_not_take_its_deadline() {
    let _shared = MACHINE.read().await;
    let refuses = TcpListener::bind("127.0.0.1:0").expect("a port");
    let refusing = refuses.local_addr().expect("a port").port();
    drop(refuses);
    for library in LIBRARIES {
        let driver = Driver::open(library, &plaintext(&[refusing])).await;
        driver.authorize(UNKNOWN, "mail.example.com").await;
        let question = json!({
            "token": UNKNOWN,
            "domain": "mail.example.com",
            "deadline_millis": 60_000,
        });
        let asked = Instant::now();
        let answer = driver.call("authorize", &question).await;
        assert!(asked.elapsed() < Duration::from_secs(10), "{library}");
        // Most of its attempts fail alike.
        let text = answer["unavailable"].as_str().expect(library);
        assert!(text.contains(" times"), "{library}: {text}");
        assert!(driver.close().await.success(), "{library}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_cannot_be_right_are_refused() {
    let _shared = MACHINE.read().await;
    for library in LIBRARIES {
        for wrong in [
            json!({"addresses": [], "plaintext": true}),
            json!({"addresses": ["127.0.0.1"], "plaintext": true}),
            json!({"addresses": ["127.0.0.1:1"], "cert_file": "only-a-certificate.pem"}),
            json!({"addresses": ["127.0.0.1:1"], "ca_file": "/no/such/file"}),
            json!({"addresses": ["127.0.0.1:1"], "plaintext": true, "secret_file": "/no/such/file"}),
        ] {
            let (driver, answer) = Driver::try_open(library, &wrong).await;
            assert!(answer["misused"].is_string(), "{library} {wrong}: {answer}");
            drop(driver);
        }
    }
}

async fn create(driver: &Driver, request: Value) -> Value {
    let mut created = driver.call("create", &request).await;
    assert!(created["created"].is_object(), "{created}");
    created["created"].take()
}
