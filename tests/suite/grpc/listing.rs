//! List: pages and filters.

use super::{ACCOUNT, create, create_request, in_the_future, list_request, time};
use crate::support::{
    eventually,
    server::{Client, Server},
    stores::Stores,
};
use data_encoding::BASE64URL_NOPAD;
use futures::{StreamExt, stream};
use keyservice::{
    grpc::proto::{ListRequest, ListResponse, key::Status},
    model::key::KeyId,
    store::LIST_SEARCH_LEN,
};
use prost::Message;
use std::time::{Duration, SystemTime};
use tonic::Code;
use tonic_types::StatusExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_holds_50_keys_by_default_and_at_most_1000() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    create_many(&client, 1001).await;
    for (page_size, held) in [(0, 50), (1, 1), (7, 7), (1000, 1000)] {
        let request = ListRequest {
            page_size,
            ..list_request()
        };
        // A page that takes a busy machine long ends early.
        eventually("a page is full", async || {
            let page = client.list_with(request.clone()).await.unwrap();
            assert!(page.keys.len() <= held);
            assert!(!page.next_page_token.is_empty());
            page.keys.len() == held
        })
        .await;
    }
}

/// Otherwise answers that nobody takes could fill the memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_keys_has_fewer_of_them_and_none_is_left_out() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let prefix = format!("{}x", "abc.".repeat(63));
    let label = |number| {
        (
            format!("{prefix}/{number}{}", "n".repeat(61)),
            "v".repeat(63),
        )
    };
    let mut created = Vec::new();
    for _ in 0..200 {
        let large = create(&mut client, |key| {
            key.labels = (10..26).map(label).collect()
        });
        created.insert(0, large.await.key_id);
    }
    let mut request = ListRequest {
        page_size: 1000,
        ..list_request()
    };
    let mut listed = Vec::new();
    for pages in 1.. {
        let page = client.list_with(request.clone()).await.unwrap();
        assert!(page.encoded_len() < 1 << 20);
        listed.extend(page.keys.into_iter().map(|key| key.key_id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            // More on a busy machine, because a page also has its time.
            assert!(pages >= 2, "{pages}");
            break;
        }
    }
    assert_eq!(listed, created);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_last_page_has_no_next_page_token() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    create_many(&client, 4).await;
    let mut request = ListRequest {
        page_size: 2,
        ..list_request()
    };
    let first = client.list_with(request.clone()).await.unwrap();
    request.page_token = first.next_page_token;
    let last = client.list_with(request).await.unwrap();
    assert_eq!((last.keys.len(), last.next_page_token.as_str()), (2, ""));

    let of_nobody = ListRequest {
        account_id: "nobody".into(),
        ..list_request()
    };
    let empty = client.list_with(of_nobody).await.unwrap();
    assert_eq!((empty.keys.len(), empty.next_page_token.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_newest_first_and_never_repeat_or_hide_a_key() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.insert(0, create(&mut client, |_| {}).await.key_id);
    }

    let mut request = ListRequest {
        page_size: 3,
        ..list_request()
    };
    let mut seen = Vec::new();
    for held in [3, 3, 1] {
        let page = client.list_with(request.clone()).await.unwrap();
        assert_eq!(page.keys.len(), held);
        seen.extend(page.keys.into_iter().map(|key| key.key_id));
        request.page_token = page.next_page_token;
        create(&mut client, |_| {}).await;
    }
    assert_eq!(request.page_token, "");
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_is_valid_only_for_its_own_list() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    create_many(&client, 3).await;
    let first = ListRequest {
        page_size: 1,
        ..list_request()
    };
    let page_token = client.list_with(first).await.unwrap().next_page_token;
    let next = ListRequest {
        page_token,
        ..list_request()
    };
    let page = client.list_with(next.clone()).await.unwrap();
    assert_eq!(page.keys.len(), 2, "the page size may change");

    let other_lists: [fn(&mut ListRequest); 7] = [
        |list| list.account_id = "globex".into(),
        |list| list.set_status(Status::Active),
        |list| list.domain = Some("example.com".into()),
        |list| list.labels = [("a".into(), "b".into())].into(),
        |list| list.name_prefix = "N".into(),
        |list| list.preview = "tsend_ab...wxyz".into(),
        |list| (list.account_id, list.all_accounts) = (String::new(), true),
    ];
    for change in other_lists {
        let mut another_list = next.clone();
        change(&mut another_list);
        let refused = client.list_with(another_list).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let details = refused.get_details_bad_request().unwrap();
        assert_eq!(details.field_violations[0].field, "page_token");
    }
}

/// It would say how many writes the platform has made, if it held the place of the key among them.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_holds_the_id_of_the_last_key_and_nothing_that_counts_writes() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    create_many(&client, 3).await;
    let request = ListRequest {
        page_size: 2,
        ..list_request()
    };
    let page = client.list_with(request).await.unwrap();
    let held = BASE64URL_NOPAD
        .decode(page.next_page_token.as_bytes())
        .unwrap();
    let last = KeyId::parse(&page.keys[1].key_id).unwrap();
    let (id, checksum) = held.split_at(16);
    assert_eq!(id, last.as_uuid().as_bytes());
    assert_eq!(checksum.len(), 8);

    let another_server = Server::on_sqlite().await;
    let mut client = another_server.client().await;
    let request = ListRequest {
        page_token: page.next_page_token,
        ..list_request()
    };
    let refused = client.list_with(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "no such key there");
    assert!(refused.message().contains("begin again"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_filtered_by_status_and_by_domain() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let scope = |domain: &str| Some(domain.to_owned());
    let soon = Some(in_the_future(Duration::from_secs(2)));
    let active = create(&mut client, |_| {}).await;
    let scoped = create(&mut client, |key| key.domain = scope("bücher.example")).await;
    let expired = create(&mut client, |key| key.expire_time = soon).await;
    let revoked = create(&mut client, |key| key.expire_time = soon).await;
    client.revoke(&revoked.key_id).await.unwrap();
    eventually("the keys expire", async || SystemTime::now() >= time(soon)).await;

    use Status::{Active, Expired, Revoked, Unspecified};
    for (status, domain, expected) in [
        (Active, None, vec![&scoped.key_id, &active.key_id]),
        (Expired, None, vec![&expired.key_id]),
        (Revoked, None, vec![&revoked.key_id]),
        (Unspecified, scope("BÜCHER.example."), vec![&scoped.key_id]),
        (Active, scope("bücher.example"), vec![&scoped.key_id]),
        (Revoked, scope("bücher.example"), vec![]),
        (Unspecified, scope("mail.bücher.example"), vec![]),
    ] {
        let mut request = list_request();
        request.set_status(status);
        request.domain = domain;
        let keys = client.list_with(request).await.unwrap().keys;
        let ids: Vec<_> = keys.iter().map(|key| &key.key_id).collect();
        assert_eq!(ids, expected);
    }
    assert_eq!(client.list(ACCOUNT).await.unwrap().len(), 4);
}

async fn create_many(client: &Client, count: usize) {
    let calls = (0..count).map(|_| {
        let mut client = client.clone();
        async move { client.create_with(create_request()).await }
    });
    let mut answers = stream::iter(calls).buffer_unordered(32);
    while let Some(created) = answers.next().await {
        created.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_found_in_all_accounts_by_their_preview_their_labels_or_their_name() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let first = create(&mut client, |key| key.name = "Büro 1".into()).await;
    let label = |value: &str| [("environment".to_owned(), value.to_owned())].into();
    let second = create(&mut client, |key| {
        key.account_id = "globex".into();
        key.labels = label("production");
        key.name = "Büro 2".into();
    });
    let second = second.await;
    let preview = |token: &str, between| format!("{}{between}{}", &token[..8], &token[51..]);
    let everywhere = || ListRequest {
        all_accounts: true,
        show_total_size: true,
        ..Default::default()
    };
    let requests = [
        (everywhere(), vec![&second.key_id, &first.key_id]),
        (
            ListRequest {
                preview: preview(&second.token, "…"),
                ..everywhere()
            },
            vec![&second.key_id],
        ),
        (
            ListRequest {
                preview: preview(&first.token, "..."),
                ..everywhere()
            },
            vec![&first.key_id],
        ),
        (
            ListRequest {
                labels: label("production"),
                ..everywhere()
            },
            vec![&second.key_id],
        ),
        (
            ListRequest {
                labels: label("test"),
                ..everywhere()
            },
            vec![],
        ),
        (
            ListRequest {
                name_prefix: "Büro 1".into(),
                ..everywhere()
            },
            vec![&first.key_id],
        ),
    ];
    for (request, expected) in requests {
        let page = client.list_with(request).await.unwrap();
        let ids: Vec<_> = page.keys.iter().map(|key| &key.key_id).collect();
        assert_eq!(ids, expected);
        let total = i64::try_from(expected.len()).unwrap();
        assert_eq!(
            (page.total_size, page.total_size_is_minimum),
            (Some(total), false)
        );
    }
    let page = client.list_with(list_request()).await.unwrap();
    assert_eq!(page.total_size, None, "nobody asked");
}

/// Every step of a long search is short, so a page may end before it is full.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_keys_leads_on_to_those_that_are_left() {
    let stores = Stores::postgres().await;
    let server = Server::start(&stores.address).await;
    let mut client = server.client().await;
    let first = create(&mut client, |key| key.name = "The first".into()).await;
    stores.insert_active_keys(3 * LIST_SEARCH_LEN).await;
    let mut request = ListRequest {
        name_prefix: "The first".into(),
        ..list_request()
    };
    let mut found = Vec::new();
    loop {
        let page = client.list_with(request.clone()).await.unwrap();
        found.extend(page.keys.into_iter().map(|key| key.key_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, [first.key_id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_a_status_is_filled_from_as_many_keys_as_it_takes() {
    let stores = Stores::postgres().await;
    let server = Server::start(&stores.address).await;
    let mut client = server.client().await;
    let mut revoked = Vec::new();
    for _ in 0..3 {
        let (_, key_id) = client.create_key().await;
        client.revoke(&key_id).await.unwrap();
        revoked.insert(0, key_id);
    }
    stores.insert_active_keys(3 * LIST_SEARCH_LEN).await;

    let mut request = ListRequest {
        page_size: 2,
        status: Status::Revoked.into(),
        ..list_request()
    };
    let ids = |page: &ListResponse| -> Vec<_> {
        page.keys.iter().map(|key| key.key_id.clone()).collect()
    };
    let first = client.list_with(request.clone()).await.unwrap();
    assert_eq!(ids(&first), revoked[..2]);
    request.page_token = first.next_page_token;
    let last = client.list_with(request).await.unwrap();
    assert_eq!(ids(&last), revoked[2..]);
    assert_eq!(last.next_page_token, "");
}
