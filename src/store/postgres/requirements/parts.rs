//! What the migrations make, part by part, and whether a database still has it.
//!
//! Owns the list of the parts (`parts.txt`), which a test holds to the migrations, and the statement
//! that looks for them (`parts.sql`). More parts than these do no harm here. Rules and triggers that do
//! are in `schema`.

use super::{Unfit, unfit};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Client, Error};

const EXPECTED: &str = include_str!("parts.txt");

const LOOK: &str = include_str!("parts.sql");

/// What else may stand in the place of a table or a view.
const RELATIONS: [&str; 9] = [
    "table",
    "view",
    "materialized view",
    "foreign table",
    "partitioned table",
    "sequence",
    "index",
    "partitioned index",
    "composite type",
];

/// How many parts one error names.
const SHOWN: usize = 8;

/// The parts that a database has, each with the statement that makes it work again if it does not.
pub(in crate::store::postgres) struct Parts(BTreeMap<String, String>);

pub(in crate::store::postgres) async fn look(client: &Client) -> Result<Parts, Error> {
    let rows = client.query(LOOK, &[]).await?;
    let parts = rows
        .iter()
        .map(|row| Ok((row.try_get("part")?, row.try_get("state")?)));
    parts.collect::<Result<_, _>>().map(Parts)
}

impl Parts {
    /// Refuses what is in the place of a table or a view, and is none. There may be no tables yet.
    pub(in crate::store::postgres) fn check_kinds(&self) -> Result<(), Unfit> {
        for (kind, name) in EXPECTED.lines().filter_map(|part| part.split_once(' ')) {
            if !matches!(kind, "table" | "view") {
                continue;
            }
            let others = RELATIONS.iter().filter(|other| **other != kind);
            for other in others {
                if self.0.contains_key(&format!("{other} {name}")) {
                    return Err(unfit(
                        format!(
                            "keyservice.{name} is a {other}, in the place of the {kind} that the \
                             migrations make"
                        ),
                        "drop or rename it; if the data is elsewhere now, restore the database from a \
                         backup",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Refuses a schema that has lost a part, or in which one is disabled. A schema without an index that
    /// only makes it quick is warned of.
    pub(in crate::store::postgres) fn check_complete(&self) -> Result<(), Unfit> {
        let (slow, mut missing): (Vec<_>, Vec<_>) = self
            .missing()
            .partition(|part| part.starts_with("plain index "));
        if !slow.is_empty() {
            tracing::warn!(
                "the schema keyservice lacks {}, so calls are slow and may come too late: {MAKE_AGAIN}",
                listed(&slow)
            );
        }
        if !missing.is_empty() {
            missing.sort_by_key(|part| !holds_data(part));
            let remedy = if missing.iter().any(|part| holds_data(part)) {
                "restore the database from a backup, or name an empty one".to_owned()
            } else {
                format!("restore the database from a backup, or {MAKE_AGAIN}")
            };
            return Err(unfit(
                format!(
                    "by its table of migrations the schema keyservice is complete, but it lacks {}",
                    listed(&missing)
                ),
                remedy,
            ));
        }
        let disabled = EXPECTED
            .lines()
            .filter_map(|part| Some((part, self.0.get(part)?.as_str())))
            .filter(|(_, mend)| !mend.is_empty());
        let (disabled, mends): (Vec<_>, BTreeSet<_>) = disabled.unzip();
        if disabled.is_empty() {
            return Ok(());
        }
        let mends: Vec<_> = mends.into_iter().collect();
        Err(unfit(
            format!(
                "in the schema keyservice, these are disabled or invalid: {}",
                listed(&disabled)
            ),
            format!("as the owner of the tables, {}", mends.join("; ")),
        ))
    }

    /// What is missing, without the parts of tables that are missing as a whole.
    fn missing(&self) -> impl Iterator<Item = &'static str> {
        let is_missing = |part: &str| !self.0.contains_key(part);
        EXPECTED.lines().filter(move |part| {
            let whole =
                of_relation(part).map(|name| [format!("table {name}"), format!("view {name}")]);
            let is_part_of_a_missing_one =
                whole.is_some_and(|[table, view]| is_missing(&table) && is_missing(&view));
            is_missing(part) && !is_part_of_a_missing_one
        })
    }
}

const MAKE_AGAIN: &str =
    "make them again as a new database has them, which pg_dump --schema-only shows";

fn holds_data(part: &str) -> bool {
    part.starts_with("table ") || part.starts_with("column ")
}

/// The relation that a column, an index, a constraint or a trigger belongs to.
fn of_relation(part: &str) -> Option<&str> {
    match part.strip_prefix("column ") {
        Some(column) => column.split_once('.').map(|(relation, _)| relation),
        None => part.rsplit_once(" on ").map(|(_, relation)| relation),
    }
}

fn listed(parts: &[&str]) -> String {
    let shown: Vec<_> = parts
        .iter()
        .take(SHOWN)
        .map(|part| format!("the {part}"))
        .collect();
    let shown = shown.join(", ");
    match parts.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Parts {
        Parts(
            EXPECTED
                .lines()
                .map(|part| (part.to_owned(), String::new()))
                .collect(),
        )
    }

    #[test]
    fn each_part_that_is_missing_or_disabled_is_seen() {
        assert_eq!(complete().check_complete(), Ok(()));
        for part in EXPECTED.lines() {
            let mut parts = complete();
            parts.0.remove(part);
            let checked = parts.check_complete();
            if part.starts_with("plain index ") {
                assert_eq!(checked, Ok(()));
            } else {
                let problem = checked.expect_err(part).problem;
                assert!(problem.ends_with(&format!("lacks the {part}")), "{problem}");
            }
            parts.0.insert(part.to_owned(), "MEND IT".to_owned());
            let refused = parts.check_complete().expect_err(part);
            assert!(refused.problem.contains(part), "{}", refused.problem);
            assert!(refused.remedy.ends_with("MEND IT"), "{}", refused.remedy);
        }
    }

    #[test]
    fn an_error_names_so_many_parts() {
        let refused = Parts(BTreeMap::new()).check_complete().expect_err("empty");
        assert!(
            refused.problem.contains("the table audit, "),
            "{}",
            refused.problem
        );
        assert!(!refused.problem.contains("column"), "{}", refused.problem);
        assert!(refused.problem.ends_with(" more"), "{}", refused.problem);
        assert_eq!(Parts(BTreeMap::new()).check_kinds(), Ok(()));
    }
}
