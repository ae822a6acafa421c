//! The file of contexts: the services that a person works with, each by a name.
//!
//! Promises that no error shows a value of the file, which may be a secret in the wrong place; that a change leaves
//! what it does not concern as it was, comments included; and that of two changes at once neither is lost.

mod place;
mod replacement;

use super::{arguments::file_path, context::Context, failure::Failure};
use crate::file_access::planter;
use place::{Nowhere, behind_links, place};
use replacement::Replacement;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf, absolute},
};
use toml_edit::{DocumentMut, Item, Table, Value, value};

/// What may stand in the file. Texts that its reader would give instead may repeat a value of it.
const CONTENT: &str = "it has `current = \"NAME\"`, and for each context a table [context.NAME] with `server`, `ca`, \
    `server-name`, `client-cert`, `client-key` and `secret-file`, each a text in quotes, and `plaintext = true`";

/// The file: its text, and what it says.
pub(super) struct Contexts {
    path: PathBuf,
    nowhere: Option<Nowhere>,
    document: DocumentMut,
    content: Content,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Content {
    current: Option<String>,
    context: BTreeMap<String, Context>,
}

/// What became of a context that was set.
pub(super) struct Set {
    /// What it said before.
    pub(super) replaced: Option<Context>,
    /// Whether it is the first one, and so the current one.
    pub(super) is_first: bool,
}

impl Contexts {
    /// Reads the file that was named, or else the usual one, which need not exist.
    pub(super) fn read(named: Option<&Path>) -> Result<Self, Failure> {
        match place(named) {
            Ok(path) => Self::read_at(&path, named.is_none()),
            Err(nowhere) => Ok(Self {
                nowhere: Some(nowhere),
                ..Self::empty(PathBuf::new())
            }),
        }
    }

    /// Changes the file, which need not exist if a context is added. The next change begins when this one is
    /// stored.
    pub(super) fn change<T>(
        named: Option<&Path>,
        may_be_new: bool,
        change: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let path = place(named)?;
        let unwritten = |error| unwritten(&path, &error);
        let target = behind_links(&path).map_err(unwritten)?;
        if may_be_new {
            let folder = target.parent().unwrap_or(Path::new(""));
            fs::create_dir_all(folder).map_err(unwritten)?;
        } else if !target.exists() {
            // It says what is missing.
            return change(&mut Self::read_at(&path, named.is_none())?);
        }
        let replacement = Replacement::begin(&target).map_err(unwritten)?;
        let mut contexts = Self::read_at(&path, may_be_new || named.is_none())?;
        let changed = change(&mut contexts)?;
        let text = contexts.text()?;
        replacement.finish(&text).map_err(unwritten)?;
        Ok(changed)
    }

    /// Why the file can stand nowhere, if so.
    pub(super) fn nowhere(&self) -> Option<&Nowhere> {
        self.nowhere.as_ref()
    }

    /// Where the file stands, or would.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(path: &Path, may_be_new: bool) -> Result<Self, Failure> {
        refuse_planted(path)?;
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path.to_owned(), &text),
            Err(error) if error.kind() == ErrorKind::NotFound && may_be_new => {
                Ok(Self::empty(path.to_owned()))
            }
            Err(error) => Err(Failure::Misused(format!(
                "the file of contexts, {}, cannot be read: {error}",
                path.display()
            ))),
        }
    }

    fn empty(path: PathBuf) -> Self {
        Self {
            path,
            nowhere: None,
            document: DocumentMut::new(),
            content: Content::default(),
        }
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, Failure> {
        let wrong = |message: &str, place: Option<usize>| wrong_file(&path, text, message, place);
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
            wrong("this is not TOML", error.span().map(|at| at.start))
        })?;
        let content = toml_edit::de::from_str(text).map_err(|error| {
            let message = format!("this does not belong there; {CONTENT}");
            wrong(&message, error.span().map(|at| at.start))
        });
        let mut content: Content = content?;
        if content
            .context
            .values()
            .any(|it| it.client_cert.is_some() != it.client_key.is_some())
        {
            return Err(wrong("client-cert and client-key need each other", None));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let files = content.context.values_mut().flat_map(Context::files);
        for file in files.flatten() {
            let name = file.to_string_lossy();
            file_path(&name)
                .map_err(|_| wrong("a secret stands in the place of a file's name", None))?;
            *file = folder.join(&file);
        }
        Ok(Self {
            path,
            nowhere: None,
            document,
            content,
        })
    }

    /// The context that is used when none is named. None if there are no contexts.
    ///
    /// If there are some and none is the current one, nobody can know which service is meant.
    pub(super) fn current(&self) -> Result<Option<Context>, Failure> {
        match &self.content.current {
            Some(name) => self.get(name).map(Some),
            None if self.content.context.is_empty() => Ok(None),
            None => Err(Failure::Misused(
                "no context is the current one: choose by --context, or by `keyservice contexts use`".to_owned(),
            )),
        }
    }

    /// The name of the current context.
    pub(super) fn current_name(&self) -> Option<&str> {
        self.content.current.as_deref()
    }

    pub(super) fn get(&self, name: &str) -> Result<Context, Failure> {
        self.content.context.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = self.content.context.keys().map(String::as_str).collect();
            let path = self.path.display();
            if let Some(nowhere) = &self.nowhere {
                return nowhere.clone().into();
            }
            Failure::Misused(if known.is_empty() {
                format!("{path} has no contexts; add one by `keyservice contexts set`")
            } else {
                format!("{path} has no context {name}; it has: {}", known.join(", "))
            })
        })
    }

    /// Each name with its context, and whether it is the current one.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Context, bool)> {
        let current = self.content.current.as_deref();
        self.content
            .context
            .iter()
            .map(move |(name, context)| (name.as_str(), context, current == Some(name)))
    }

    /// Makes a context the current one.
    pub(super) fn make_current(&mut self, name: &str) -> Result<(), Failure> {
        self.get(name)?;
        let mut current = value(name);
        if let (Some(new), Some(old)) = (
            current.as_value_mut(),
            self.document.get("current").and_then(Item::as_value),
        ) {
            *new.decor_mut() = old.decor().clone();
        }
        self.document["current"] = current;
        self.content.current = Some(name.to_owned());
        Ok(())
    }

    /// Adds a context, or replaces it. The first one becomes the current one.
    pub(super) fn set(&mut self, name: &str, mut context: Context) -> Result<Set, Failure> {
        for file in context.files().into_iter().flatten() {
            *file = absolute(&file).map_err(|error| unwritten(&self.path, &error))?;
        }
        let is_first = self.content.context.is_empty();
        let contexts = self.document.entry("context");
        let contexts = contexts.or_insert_with(|| {
            let mut contexts = Table::new();
            contexts.set_implicit(true);
            Item::Table(contexts)
        });
        let mut new = context.to_table();
        if let Some(contexts) = contexts.as_inline_table_mut() {
            // It can hold values alone, on its line.
            contexts.insert(name, Value::InlineTable(new.into_inline_table()));
        } else {
            if let Some(old) = contexts.get(name).and_then(Item::as_table) {
                *new.decor_mut() = old.decor().clone();
                new.set_position(old.position());
            }
            contexts[name] = Item::Table(new);
        }
        let replaced = self.content.context.insert(name.to_owned(), context);
        if is_first {
            self.make_current(name)?;
        }
        Ok(Set { replaced, is_first })
    }

    /// Removes a context. Returns whether it was the current one.
    pub(super) fn remove(&mut self, name: &str) -> Result<bool, Failure> {
        self.get(name)?;
        if let Some(contexts) = self.document["context"].as_table_like_mut() {
            contexts.remove(name);
        }
        self.content.context.remove(name);
        let was_current = self.content.current.as_deref() == Some(name);
        if was_current {
            self.document.remove("current");
            self.content.current = None;
        }
        Ok(was_current)
    }

    /// The text of the file, which says what this holds and nothing else.
    fn text(&self) -> Result<String, Failure> {
        let text = self.document.to_string();
        let read = Self::parse(self.path.clone(), &text);
        if read.is_ok_and(|read| read.content == self.content) {
            return Ok(text);
        }
        Err(Failure::Refused(format!(
            "the file of contexts, {}, is written in a way that cannot be changed here; change it by hand",
            self.path.display()
        )))
    }
}

/// Refuses a file that another user may have put there: it says which file is sent as a secret, and to whom.
fn refuse_planted(path: &Path) -> Result<(), Failure> {
    let target = behind_links(path).unwrap_or_default();
    for path in [path, &target] {
        // Whoever reads a file that is not there says so.
        let owner = absolute(path).and_then(|path| planter(&path));
        if let Ok(Some(user)) = owner {
            let path = path.display();
            return Err(Failure::Misused(format!(
                "the file of contexts, {path}, belongs to user {user}, who may have put it there: everybody may \
                 create files in its folder; keep yours in a folder of your own"
            )));
        }
    }
    Ok(())
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::Refused(format!(
        "the file of contexts, {path}, cannot be written: {error}"
    ))
}

fn wrong_file(path: &Path, text: &str, message: &str, place: Option<usize>) -> Failure {
    let line = place.and_then(|place| text.get(..place));
    let line = line.map_or(String::new(), |before| {
        format!(", line {}", before.matches('\n').count() + 1)
    });
    let path = path.display();
    Failure::Misused(format!("the file of contexts, {path}{line}: {message}"))
}

#[cfg(test)]
mod tests;
