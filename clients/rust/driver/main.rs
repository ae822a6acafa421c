//! The driver by which the service's own tests run this library (`clients/DRIVER.md`).

use serde_json::{Value, json};
use std::{
    io::{self, BufRead},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet};
use tosend_keyservice::{
    AdminError, Client, Decision, Error, Options, Scope, code_name,
    proto::{AddDomainRequest, CreateRequest, RevokeRequest, revoke_request::Target},
};

/// A client, and what `show` shows beside it.
struct Driver {
    options: Options,
    client: Client,
    last: Mutex<String>,
}

#[tokio::main]
async fn main() {
    let mut lines = lines();
    let mut driver = None;
    let mut calls = JoinSet::new();
    while let Some(line) = lines.recv().await {
        let line: Value = serde_json::from_str(&line).expect("each line is JSON");
        if line["call"] == "open" {
            let options = options(&line);
            match Client::open(options.clone()) {
                Err(error) => print(&line, json!({"misused": error.to_string()})),
                Ok(client) => {
                    print(&line, json!({"opened": true}));
                    let last = Mutex::default();
                    driver = Some(Arc::new(Driver {
                        options,
                        client,
                        last,
                    }));
                }
            }
            continue;
        }
        let driver = driver.clone().expect("the first line opens the client");
        calls.spawn(async move {
            let answer = driver.call(&line).await;
            print(&line, answer);
        });
    }
    calls.join_all().await;
    if let Some(driver) = driver {
        driver.client.close().await;
    }
}

/// The lines of the standard input, read by a thread of their own.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (send, receive) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            send.send(line.expect("UTF-8"))
                .expect("the main task reads");
        }
    });
    receive
}

fn print(line: &Value, mut answer: Value) {
    answer["id"] = line["id"].clone();
    println!("{answer}");
}

fn options(line: &Value) -> Options {
    let addresses = line["addresses"].as_array().expect("addresses");
    let addresses = addresses.iter().map(|it| it.as_str().expect("a text"));
    let mut options = Options::new(addresses);
    if line["plaintext"] == true {
        options = options.plaintext();
    }
    if let Some(path) = line["ca_file"].as_str() {
        options = options.ca_file(path);
    }
    let (certificate, key) = (line["cert_file"].as_str(), line["key_file"].as_str());
    if certificate.is_some() || key.is_some() {
        // One that is missing is a file without a name, which cannot be read.
        options =
            options.certificate_files(certificate.unwrap_or_default(), key.unwrap_or_default());
    }
    if let Some(path) = line["secret_file"].as_str() {
        options = options.secret_file(path);
    }
    if let Some(name) = line["server_name"].as_str() {
        options = options.server_name(name);
    }
    options
}

impl Driver {
    async fn call(&self, line: &Value) -> Value {
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        let admin = self.client.admin();
        match line["call"].as_str() {
            Some("ready") => {
                let millis = line["millis"].as_u64().expect("millis");
                let ready = self.client.wait_until_ready(Duration::from_millis(millis));
                json!({"ready": ready.await.is_ok()})
            }
            Some("authorize") => self.authorize(line).await,
            Some("create") => {
                let request = CreateRequest {
                    account_id: text("account_id"),
                    name: text("name"),
                    domain: line["domain"].as_str().map(str::to_owned),
                    ..CreateRequest::default()
                };
                self.admin_answer(admin.create(request).await, |created| {
                    let key = created.key.unwrap_or_default();
                    json!({"created": {"key_id": key.key_id, "token": created.token}})
                })
            }
            Some("revoke") => {
                let request = RevokeRequest {
                    target: Some(Target::KeyId(text("key_id"))),
                    ..RevokeRequest::default()
                };
                self.admin_answer(admin.revoke(request).await, |revoked| {
                    let key = revoked.key.unwrap_or_default();
                    json!({"revoked": {"key_id": key.key_id}})
                })
            }
            Some("add_domain") => {
                let request = AddDomainRequest {
                    account_id: text("account_id"),
                    domain: text("domain"),
                    ..AddDomainRequest::default()
                };
                let added = admin.add_domain(request).await;
                self.admin_answer(added, |_| json!({"added": true}))
            }
            Some("show") => {
                let last = self.last.lock().expect("no task panics").clone();
                json!({"shown": format!("{:?}\n{:?}\n{last}", self.client, self.options)})
            }
            other => panic!("there is no call {other:?}"),
        }
    }

    async fn authorize(&self, line: &Value) -> Value {
        let text = |field: &str| line[field].as_str().expect("a text");
        let (token, domain) = (text("token"), text("domain"));
        let result = match line["deadline_millis"].as_u64() {
            None => self.client.authorize(token, domain).await,
            Some(millis) => {
                let deadline = Duration::from_millis(millis);
                self.client.authorize_within(token, domain, deadline).await
            }
        };
        self.remember(&result);
        match result {
            Ok(Decision::Allowed(allowed)) => {
                let domain = match allowed.scope {
                    Scope::Domain(domain) => Some(domain),
                    _ => None,
                };
                json!({"allowed": {"key_id": allowed.key_id, "account_id": allowed.account_id, "domain": domain}})
            }
            Ok(Decision::Denied(denied)) => {
                let reason = denied.reason.to_string();
                json!({"denied": {"reason": reason, "key_id": denied.key_id, "account_id": denied.account_id}})
            }
            Err(Error::Unavailable(error)) => json!({"unavailable": error.to_string()}),
            Err(Error::Misused(error)) => json!({"misused": error.to_string()}),
        }
    }

    fn admin_answer<A: std::fmt::Debug>(
        &self,
        result: Result<A, AdminError>,
        print: impl Fn(A) -> Value,
    ) -> Value {
        self.remember(&result);
        match result {
            Ok(answer) => print(answer),
            Err(AdminError::Unavailable(error)) => json!({"unavailable": error.to_string()}),
            Err(AdminError::Misused(error)) => json!({"misused": error.to_string()}),
            Err(AdminError::Refused(error)) => {
                json!({"refused": {"code": code_name(error.code), "message": error.message}})
            }
        }
    }

    fn remember(&self, result: &impl std::fmt::Debug) {
        *self.last.lock().expect("no task panics") = format!("{result:?}");
    }
}
