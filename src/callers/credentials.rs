//! Owns the credentials file: which proof stands for which caller.
//! Promises that a file is taken whole or refused by the number of its first wrong line.
//! Must never repeat a line's text in an error: somebody may have pasted a secret.

use super::{
    Caller, Role,
    certificate_name::{InvalidSan, San},
    secret::{Secret, SecretDigest},
};
use crate::model::account::{AccountId, Accounts, InvalidAccountId};
use crate::model::caller_name::{CallerName, InvalidCallerName};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

/// Who calls, by what they prove it with.
#[derive(Debug, Default)]
pub struct Credentials {
    by_secret: HashMap<SecretDigest, Arc<Caller>>,
    by_san: HashMap<San, Arc<Caller>>,
}

/// A line of the file is wrong. Lines are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredentials {
    /// In a line of its own.
    #[error("line {0} {1}")]
    Line(usize, Mistake),
    /// Not a text at all.
    #[error("is not UTF-8 text")]
    NotText,
    /// A file that was cut off, say. It would lock everybody out.
    #[error("names no caller; add one with `keyservice credential new NAME --role admin`")]
    NoCaller,
}

/// What is wrong with a line, and what is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// Its first word.
    #[error("begins with what {0}")]
    Name(#[from] InvalidCallerName),
    /// Its second word.
    #[error("needs a role as its second word: authorizer or admin")]
    Role,
    /// `accounts=`.
    #[error("has accounts= with what {0}; several are separated by commas")]
    Account(#[from] InvalidAccountId),
    /// `accounts=` again.
    #[error("has accounts= twice; separate accounts by commas")]
    AccountsTwice,
    /// `bearer=`.
    #[error(
        "needs bearer=blake3: and 64 hexadecimal digits, as `keyservice credential new` prints; \
         the secret itself belongs to its caller alone"
    )]
    Bearer,
    /// `certificate=`.
    #[error("has certificate= with what {0}")]
    Certificate(#[from] InvalidSan),
    /// Another word.
    #[error("has a word that is none of accounts=, bearer= and certificate=")]
    Unknown,
    /// Nothing to prove the caller by.
    #[error("needs bearer= or certificate=, or nobody could prove to be this caller")]
    NoProof,
    /// The name stands on another line too.
    #[error(
        "names a caller that line {0} has named; give one line several bearer= or certificate="
    )]
    NameTwice(usize),
    /// The proof stands on another line too.
    #[error("has a bearer= or certificate= that an earlier word has; each proves one caller")]
    ProofTwice,
}

impl Credentials {
    /// Reads a credentials file: a caller a line, `NAME ROLE [accounts=ACCOUNT,…]` and at least one
    /// of `bearer=DIGEST` and `certificate=SAN`. What follows a `#` at a word's start is a comment.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidCredentials> {
        let text = std::str::from_utf8(bytes).map_err(|_| InvalidCredentials::NotText)?;
        let mut credentials = Self::default();
        let mut lines_by_name = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let words = line.split_ascii_whitespace();
            let mut words = words.take_while(|word| !word.starts_with('#'));
            let Some(name) = words.next() else {
                continue;
            };
            let add = || {
                let name = CallerName::parse(name)?;
                if let Some(before) = lines_by_name.insert(name.clone(), number) {
                    return Err(Mistake::NameTwice(before));
                }
                credentials.add(name, words)
            };
            add().map_err(|mistake| InvalidCredentials::Line(number, mistake))?;
        }
        if lines_by_name.is_empty() {
            return Err(InvalidCredentials::NoCaller);
        }
        Ok(credentials)
    }

    /// Adds the caller of the words that follow its name.
    fn add<'a>(
        &mut self,
        name: CallerName,
        mut words: impl Iterator<Item = &'a str>,
    ) -> Result<(), Mistake> {
        let role = words.next().and_then(|word| word.parse::<Role>().ok());
        let role = role.ok_or(Mistake::Role)?;
        let mut accounts = Accounts::All;
        let (mut digests, mut sans) = (HashSet::new(), HashSet::new());
        for word in words {
            let is_new = match word.split_once('=') {
                Some(("accounts", _)) if accounts != Accounts::All => {
                    return Err(Mistake::AccountsTwice);
                }
                Some(("accounts", list)) => {
                    accounts = self::accounts(list)?;
                    true
                }
                Some(("bearer", digest)) => {
                    let digest = SecretDigest::parse(digest).ok_or(Mistake::Bearer)?;
                    !self.by_secret.contains_key(&digest) && digests.insert(digest)
                }
                Some(("certificate", san)) => {
                    let san = San::parse(san)?;
                    !self.by_san.contains_key(&san) && sans.insert(san)
                }
                _ => return Err(Mistake::Unknown),
            };
            if !is_new {
                return Err(Mistake::ProofTwice);
            }
        }
        if digests.is_empty() && sans.is_empty() {
            return Err(Mistake::NoProof);
        }
        let caller = Arc::new(Caller {
            name,
            role,
            accounts,
        });
        let of_caller = |proof| (proof, caller.clone());
        self.by_secret.extend(digests.into_iter().map(of_caller));
        let of_caller = |proof| (proof, caller.clone());
        self.by_san.extend(sans.into_iter().map(of_caller));
        Ok(())
    }

    /// Whose bearer secret this is.
    #[must_use]
    pub fn with_secret(&self, shown: &[u8]) -> Option<&Arc<Caller>> {
        self.by_secret.get(&SecretDigest::of_shown(shown)?)
    }

    /// Whose certificate has these names: of the first that is known.
    #[must_use]
    pub fn with_names(&self, names: &[San]) -> Option<&Arc<Caller>> {
        names.iter().find_map(|name| self.by_san.get(name))
    }
}

/// The line for a caller with a bearer secret.
#[must_use]
pub fn line(caller: &Caller, secret: &Secret) -> String {
    let accounts = caller.accounts.listed();
    let accounts = accounts.map(|names| format!(" accounts={}", names.join(",")));
    format!(
        "{} {}{} bearer={}",
        caller.name.as_str(),
        caller.role,
        accounts.unwrap_or_default(),
        secret.digest()
    )
}

/// Reads `ACCOUNT,ACCOUNT`.
pub fn accounts(list: &str) -> Result<Accounts, InvalidAccountId> {
    let accounts: Result<Arc<[AccountId]>, _> = list
        .split(',')
        .map(|account| AccountId::parse(account.to_owned()))
        .collect();
    Ok(Accounts::Only(accounts?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "blake3:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn mistake(line: &str) -> Mistake {
        let text = format!("# callers\n\nfirst admin certificate=first.example\n{line}\n");
        match Credentials::parse(text.as_bytes()) {
            Err(InvalidCredentials::Line(4, mistake)) => mistake,
            other => panic!("{line}: {other:?}"),
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = Credentials::parse(&bytes);
        }

        #[test]
        fn any_words_are_taken_or_refused_without_being_repeated(
            words in proptest::collection::vec("[a-z]{6}(=[a-z0-9,:]{0,9})?", 1..6),
        ) {
            let text = words.join(" ");
            if let Err(error) = Credentials::parse(text.as_bytes()) {
                prop_assert!(!error.to_string().contains(&text));
            }
        }
    }

    #[test]
    fn the_line_of_a_new_caller_is_taken_and_its_secret_proves_it() {
        let secret = Secret::generate(&mut rand::rng());
        for accounts in [Accounts::All, accounts("acme,globex").expect("valid")] {
            let caller = Caller {
                name: CallerName::parse("dashboard").expect("valid"),
                role: Role::Admin,
                accounts,
            };
            let text = format!("  {}  # made today\n", line(&caller, &secret));
            let credentials = Credentials::parse(text.as_bytes()).expect("well formed");
            let found = credentials.with_secret(secret.expose().as_bytes());
            assert_eq!(found.map(Arc::as_ref), Some(&caller));
            let another = Secret::generate(&mut rand::rng());
            assert_eq!(credentials.with_secret(another.expose().as_bytes()), None);
            assert_eq!(credentials.with_secret(b""), None);
        }
    }

    #[test]
    fn a_caller_may_have_several_proofs_and_a_certificate_several_names() {
        let text = format!(
            "sender authorizer certificate=spiffe://example.org/sender bearer={DIGEST} \
             certificate=Sender.example.org"
        );
        let credentials = Credentials::parse(text.as_bytes()).expect("well formed");
        let named = |names: &[San]| {
            let caller = credentials.with_names(names);
            caller.map(|caller| caller.name.as_str().to_owned())
        };
        let san = |text| San::parse(text).expect("valid");
        let sender = Some("sender".to_owned());
        assert_eq!(named(&[san("spiffe://example.org/sender")]), sender);
        let second = [san("other.example.org"), san("sender.example.org")];
        assert_eq!(named(&second), sender);
        assert_eq!(named(&[san("spiffe://example.org/Sender")]), None);
        assert_eq!(named(&[San::Uri("sender.example.org".into())]), None);
        assert_eq!(named(&[]), None);
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_and_what_is_right() {
        let proof = format!("bearer={DIGEST}");
        let secret = Secret::generate(&mut rand::rng());
        assert_eq!(mistake("x owner bearer=y"), Mistake::Role);
        assert_eq!(mistake("x admin"), Mistake::NoProof);
        assert_eq!(mistake("x admin accounts=a"), Mistake::NoProof);
        assert_eq!(mistake("x admin bearer=blake3:00"), Mistake::Bearer);
        let pasted = format!("x admin bearer={}", secret.expose());
        assert_eq!(mistake(&pasted), Mistake::Bearer);
        assert_eq!(
            mistake(&format!("x admin {proof} role=admin")),
            Mistake::Unknown
        );
        assert_eq!(
            mistake(&format!("x admin {proof} {proof}")),
            Mistake::ProofTwice
        );
        assert_eq!(
            mistake("x admin certificate=first.example"),
            Mistake::ProofTwice
        );
        assert_eq!(
            mistake(&format!("first admin {proof}")),
            Mistake::NameTwice(3)
        );
        let twice = format!("x admin accounts=a accounts=b {proof}");
        assert_eq!(mistake(&twice), Mistake::AccountsTwice);
        let is_san = |mistake| matches!(mistake, Mistake::Certificate(_));
        assert!(is_san(mistake("x admin certificate=*.example.org")));
        let is_account = |mistake| matches!(mistake, Mistake::Account(_));
        assert!(is_account(mistake(&format!("x admin accounts= {proof}"))));
        assert!(is_account(mistake(&format!(
            "x admin accounts=a,,b {proof}"
        ))));
        let is_name = |mistake| matches!(mistake, Mistake::Name(_));
        assert!(is_name(mistake(&format!(
            "{} admin {proof}",
            secret.expose()
        ))));
        let empty = Credentials::parse(b" \n# nobody\n");
        assert_eq!(empty.err(), Some(InvalidCredentials::NoCaller));
        let binary = Credentials::parse(b"\xff");
        assert_eq!(binary.err(), Some(InvalidCredentials::NotText));
    }
}
