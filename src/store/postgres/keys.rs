//! The statements of the PostgreSQL store on keys: create and revoke, many at a time.
//!
//! Promises that writes and their audit records are one statement, and so one transaction. Must never
//! record a write that the database's functions did not make.

use super::{
    database::{Database, Turn},
    errors::{Failure, unexpected},
    key_changes::{by_id_or_digest, parents},
    rows,
    write_groups::Grouped,
};
use crate::{
    model::{
        audit_record::{AdminMethod, Outcome},
        key::{Key, KeyId, RequestId},
        time::Timestamp,
    },
    store::{
        Committed, CreateOutcome, NewKey, NotCreated, Position, Revision, Revocation, StillAllowed,
        StoreError, WriteId,
    },
};
use async_trait::async_trait;
use tokio_postgres::Row;
use uuid::Uuid;

#[async_trait]
impl Grouped for NewKey {
    type Answer = Result<Committed<CreateOutcome>, NotCreated>;

    const TURN: Turn = Turn::Common;

    /// The second of two with one request id must find the key of the first.
    fn goes_with(&self, other: &Self) -> bool {
        self.request_id.is_none()
            || self.request_id != other.request_id
            || self.key.account_id != other.key.account_id
    }

    fn still_allowed(&self) -> &StillAllowed {
        &self.still_allowed
    }

    async fn write(database: &Database, group: &[Self]) -> Result<Vec<Self::Answer>, Failure> {
        let keys = || group.iter().map(|new| &new.key);
        let rows = database
            .write_in_turn(
                &column(group, Self::still_allowed),
                "SELECT outcomes, revisions, write_ids, first_key_ids \
                 FROM keyservice.check_store($17::pg_catalog.uuid) CROSS JOIN keyservice.create_keys( \
                     $1::pg_catalog.uuid[], $2::pg_catalog.bytea[], $3::pg_catalog.text[], \
                         $4::pg_catalog.text[], $5::pg_catalog.text[], $6::pg_catalog.text[], \
                         $7::pg_catalog.text[], $8::pg_catalog.text[], $9::pg_catalog.timestamptz[], \
                         $10::pg_catalog.timestamptz[], $11::pg_catalog.text[], $12::pg_catalog.int8[], \
                         $13::pg_catalog.text[], $14::pg_catalog.text, $15::pg_catalog.text, \
                         $16::pg_catalog.text)",
                &[
                    &column(keys(), |key| key.id.as_uuid()),
                    &column(group, |new| new.digest.as_bytes().as_slice()),
                    &column(keys(), |key| key.account_id.as_str()),
                    &column(keys(), |key| key.name.as_str()),
                    &column(keys(), |key| key.preview.as_str()),
                    &column(keys(), |key| key.scope.domain()),
                    &column(group, |new| {
                        let parents = parents(&new.key.scope, new.must_be_verified);
                        parents.map(rows::array_text)
                    }),
                    &column(group, |new| new.request_id.as_ref().map(RequestId::as_str)),
                    &column(keys(), |key| key.create_time.to_system_time()),
                    &column(keys(), |key| key.expire_time.map(Timestamp::to_system_time)),
                    &column(keys(), |key| rows::array_text(key.labels.pairs())),
                    &column(group, |new| new.max_keys.map(i64::from)),
                    &column(group, |new| new.caller.as_str()),
                    &AdminMethod::Create.as_str(),
                    &Outcome::OK.as_str(),
                    &Outcome::ALREADY_EXISTS.as_str(),
                    &database.store_id(),
                ],
            )
            .await?;
        let row = rows.first();
        let row = row.ok_or_else(|| unexpected("create_keys gave no row"))?;
        Ok(created(row)?)
    }
}

/// Reads an answer of `keyservice.create_keys`.
fn created(row: &Row) -> Result<Vec<<NewKey as Grouped>::Answer>, StoreError> {
    let outcomes: Vec<&str> = rows::column(row, "outcomes")?;
    let revisions: Vec<Option<i64>> = rows::column(row, "revisions")?;
    let write_ids: Vec<Option<Uuid>> = rows::column(row, "write_ids")?;
    let first_key_ids: Vec<Option<Uuid>> = rows::column(row, "first_key_ids")?;
    let written = revisions.into_iter().zip(write_ids).zip(first_key_ids);
    let answers = outcomes.into_iter().zip(written);
    let answers = answers.map(|(outcome, ((revision, write_id), first))| {
        let position = revision.zip(write_id).map(|(revision, write_id)| Position {
            revision: Revision::from_number(revision),
            write_id: WriteId::from_uuid(write_id),
        });
        let committed = |outcome, position| {
            let is_earlier = outcome != CreateOutcome::Created;
            Ok(Committed::new(outcome, position).by_earlier_write(is_earlier))
        };
        match (outcome, position, first) {
            ("CREATED", Some(position), _) => Ok(committed(CreateOutcome::Created, position)),
            ("REQUEST_ID_USED", Some(position), Some(first)) => {
                let first = KeyId::from_uuid(first);
                Ok(committed(CreateOutcome::RequestIdUsed { first }, position))
            }
            ("FULL", ..) => Ok(Err(NotCreated::TooManyKeys)),
            ("UNVERIFIED", ..) => Ok(Err(NotCreated::DomainNotVerified)),
            _ => Err(unexpected(
                "create_keys gave an outcome that this release does not know",
            )),
        }
    });
    answers.collect()
}

#[async_trait]
impl Grouped for Revocation {
    type Answer = Option<Committed<Key>>;

    const TURN: Turn = Turn::Kept;

    fn goes_with(&self, _: &Self) -> bool {
        true
    }

    fn still_allowed(&self) -> &StillAllowed {
        &self.still_allowed
    }

    async fn write(database: &Database, group: &[Self]) -> Result<Vec<Self::Answer>, Failure> {
        let targets = group.iter().map(|each| by_id_or_digest(&each.target));
        let (ids, digests): (Vec<_>, Vec<_>) = targets.unzip();
        let rows = database
            .write_in_turn(
                &column(group, Self::still_allowed),
                &format!(
                    "WITH revoked AS MATERIALIZED ( \
                         SELECT (r.revoked).*, r.place, r.write_id \
                         FROM keyservice.check_store($8::pg_catalog.uuid) \
                         CROSS JOIN keyservice.revoke_keys($1::pg_catalog.uuid[], $2::pg_catalog.bytea[], \
                             $3::pg_catalog.text[], $4::pg_catalog.timestamptz[], $5::pg_catalog.text[], \
                             $6::pg_catalog.text, $7::pg_catalog.text) r) \
                     SELECT {}, place, revision, write_id FROM revoked k WHERE write_id IS NOT NULL",
                    rows::KEY_COLUMNS
                ),
                &[
                    &ids,
                    &digests,
                    &column(group, |revocation| {
                        revocation.accounts.listed().map(rows::array_text)
                    }),
                    &column(group, |revocation| revocation.now.to_system_time()),
                    &column(group, |revocation| revocation.caller.as_str()),
                    &AdminMethod::Revoke.as_str(),
                    &Outcome::OK.as_str(),
                    &database.store_id(),
                ],
            )
            .await?;
        let mut answers = vec![None; group.len()];
        for row in &rows {
            let place: i64 = rows::column(row, "place")?;
            let answer = usize::try_from(place - 1).ok();
            let answer = answer.and_then(|place| answers.get_mut(place));
            let answer = answer.ok_or_else(|| unexpected("revoke_keys gave a wrong row"))?;
            let key = rows::key(row)?;
            let asked = usize::try_from(place - 1).ok().and_then(|it| group.get(it));
            let is_earlier = asked.is_some_and(|asked| key.revoke_time != Some(asked.now));
            let committed = Committed::new(key, rows::position(row)?);
            *answer = Some(committed.by_earlier_write(is_earlier));
        }
        Ok(answers)
    }
}

/// A value of each write.
fn column<W, T>(writes: impl IntoIterator<Item = W>, value: impl FnMut(W) -> T) -> Vec<T> {
    writes.into_iter().map(value).collect()
}
