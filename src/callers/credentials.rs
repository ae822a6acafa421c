//! The credentials file: the list of callers, and how each of them proves who it is.
//!
//! Promises to take a file whole, or to refuse it with the number of its first wrong line.
//! Must never repeat the text of a line in an error, because the line may contain a pasted secret.

use super::{
    Caller, Role,
    certificate_name::{CertificateName, InvalidCertificateName},
    secret::{Secret, SecretDigest},
};
use crate::model::{
    account::{AccountId, Accounts, InvalidAccountId},
    caller_name::{CallerName, InvalidCallerName},
};
use hashbrown::{HashMap, HashSet};
use std::{collections::BTreeSet, sync::Arc};

/// The callers in the file, by what each of them proves itself with.
#[derive(Debug, Default)]
pub struct Credentials {
    names: HashSet<CallerName>,
    by_secret: HashMap<SecretDigest, Arc<Caller>>,
    by_certificate_name: HashMap<CertificateName, Arc<Caller>>,
}

/// The credentials file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredentials {
    /// A line is wrong. The first line has the number 1.
    #[error("line {0} {1}")]
    Line(usize, Mistake),
    /// The file is not text.
    #[error("is not UTF-8 text")]
    NotText,
    /// The file may have been cut off within its last line. Without its `accounts=`, for example, the
    /// line would give more rights than intended.
    #[error(
        "does not end with a line break, so it may have been cut off; end its last line with one"
    )]
    CutOff,
    /// The file may have been cut off. It would lock everybody out.
    #[error("names no caller; add one with `keyservice credential new NAME --role admin`")]
    NoCaller,
}

/// A client's certificate has names of more than one caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the certificate has names of two callers, {} and {}; give each caller a certificate of its \
     own, or list all names of a certificate on one line of --credentials",
    first.as_str(),
    other.as_str()
)]
pub struct AmbiguousCertificate {
    first: CallerName,
    other: CallerName,
}

/// What is wrong with a line, and what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// The first word is not a caller's name.
    #[error("begins with a word that {0}")]
    Name(#[from] InvalidCallerName),
    /// The second word is not a role.
    #[error("needs a role as its second word: authorizer or admin")]
    Role,
    /// An entry of `accounts=` is not an account id.
    #[error("has accounts= with an entry that {0}; separate several account ids by commas")]
    Account(#[from] InvalidAccountId),
    /// A line has `accounts=` more than once.
    #[error("has accounts= twice; give it once, with the account ids separated by commas")]
    AccountsTwice,
    /// The value of `bearer=` is not a digest.
    #[error(
        "needs bearer=blake3: and 64 hexadecimal digits, as `keyservice credential new` prints \
         them; only the caller may keep the secret itself"
    )]
    Bearer,
    /// The value of `certificate=` cannot be a name in a certificate.
    #[error("has certificate= with a value that {0}")]
    Certificate(#[from] InvalidCertificateName),
    /// The line has some other word.
    #[error("has a word that does not begin with accounts=, bearer= or certificate=")]
    Unknown,
    /// The caller has nothing to prove itself with.
    #[error("needs bearer= or certificate=; without one, nobody can prove to be this caller")]
    NoProof,
    /// An earlier line has the same name.
    #[error(
        "names the same caller as line {0}; one line may have several bearer= and certificate="
    )]
    NameTwice(usize),
    /// An earlier line or word has the same proof.
    #[error("repeats an earlier bearer= or certificate=; each of them proves only one caller")]
    ProofTwice,
}

impl Credentials {
    /// Parses a credentials file.
    ///
    /// Each line describes one caller: `NAME ROLE [accounts=ACCOUNT,…]`, and then at least one of
    /// `bearer=DIGEST` and `certificate=NAME`. A word that begins with `#` begins a comment. Each line
    /// ends with a line break, the last one too.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidCredentials> {
        let text = std::str::from_utf8(bytes).map_err(|_| InvalidCredentials::NotText)?;
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(InvalidCredentials::CutOff);
        }
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
        credentials.names = lines_by_name.into_keys().collect();
        Ok(credentials)
    }

    /// Adds a caller, which the words after its name describe.
    fn add<'a>(
        &mut self,
        name: CallerName,
        mut words: impl Iterator<Item = &'a str>,
    ) -> Result<(), Mistake> {
        let role = words.next().and_then(|word| word.parse::<Role>().ok());
        let role = role.ok_or(Mistake::Role)?;
        let mut accounts = Accounts::All;
        let (mut digests, mut certificate_names) = (HashSet::new(), HashSet::new());
        for word in words {
            let is_new = match word.split_once('=') {
                Some(("accounts", _)) if accounts != Accounts::All => {
                    return Err(Mistake::AccountsTwice);
                }
                Some(("accounts", list)) => {
                    accounts = parse_accounts(list)?;
                    true
                }
                Some(("bearer", digest)) => {
                    let digest = SecretDigest::parse(digest).ok_or(Mistake::Bearer)?;
                    !self.by_secret.contains_key(&digest) && digests.insert(digest)
                }
                Some(("certificate", name)) => {
                    let name = CertificateName::parse(name)?;
                    !self.by_certificate_name.contains_key(&name) && certificate_names.insert(name)
                }
                _ => return Err(Mistake::Unknown),
            };
            if !is_new {
                return Err(Mistake::ProofTwice);
            }
        }
        if digests.is_empty() && certificate_names.is_empty() {
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
        self.by_certificate_name
            .extend(certificate_names.into_iter().map(of_caller));
        Ok(())
    }

    /// Whether there is a caller of this name.
    pub(crate) fn is_listed(&self, name: &CallerName) -> bool {
        self.names.contains(name)
    }

    /// Finds the caller that has this bearer secret.
    #[must_use]
    pub fn find_by_secret(&self, presented: &[u8]) -> Option<&Arc<Caller>> {
        self.find_by_digest(SecretDigest::of_presented(presented)?)
    }

    /// Finds the caller whose secret has this digest.
    #[must_use]
    pub(crate) fn find_by_digest(&self, digest: SecretDigest) -> Option<&Arc<Caller>> {
        self.by_secret.get(&digest)
    }

    /// Finds the caller whose certificate has these names. All names that are listed must be that
    /// caller's: the order of the names in a certificate must not decide which rights it gives.
    pub fn find_by_certificate(
        &self,
        names: &[CertificateName],
    ) -> Result<Option<&Arc<Caller>>, AmbiguousCertificate> {
        let mut found = names
            .iter()
            .filter_map(|name| self.by_certificate_name.get(name));
        let Some(first) = found.next() else {
            return Ok(None);
        };
        match found.find(|other| !Arc::ptr_eq(other, first)) {
            None => Ok(Some(first)),
            Some(other) => Err(AmbiguousCertificate {
                first: first.name.clone(),
                other: other.name.clone(),
            }),
        }
    }

    /// The callers that can prove who they are by a certificate alone, in order.
    pub(crate) fn by_certificate_alone(&self) -> BTreeSet<&str> {
        let with_secret = self.by_secret.values().map(|caller| &caller.name);
        let with_secret: HashSet<_> = with_secret.collect();
        let by_certificate = self.by_certificate_name.values().map(|caller| &caller.name);
        let alone = by_certificate.filter(|name| !with_secret.contains(name));
        alone.map(CallerName::as_str).collect()
    }
}

/// The line of the file for a caller with a bearer secret.
pub(crate) fn line(caller: &Caller, secret: &Secret) -> String {
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

/// Parses account ids that are separated by commas.
pub(crate) fn parse_accounts(list: &str) -> Result<Accounts, InvalidAccountId> {
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
            let text = words.join(" ") + "\n";
            if let Err(error) = Credentials::parse(text.as_bytes()) {
                prop_assert!(!error.to_string().contains(text.trim()));
            }
        }
    }

    #[test]
    fn the_line_of_a_new_caller_is_taken_and_its_secret_proves_it() {
        let secret = Secret::generate(&mut rand::rng());
        for accounts in [Accounts::All, parse_accounts("acme,globex").expect("valid")] {
            let caller = Caller {
                name: CallerName::parse("dashboard").expect("valid"),
                role: Role::Admin,
                accounts,
            };
            let text = format!("  {}  # made today\n", line(&caller, &secret));
            let credentials = Credentials::parse(text.as_bytes()).expect("well formed");
            let found = credentials.find_by_secret(secret.expose().as_bytes());
            assert_eq!(found.map(Arc::as_ref), Some(&caller));
            let another = Secret::generate(&mut rand::rng());
            assert_eq!(
                credentials.find_by_secret(another.expose().as_bytes()),
                None
            );
            assert_eq!(credentials.find_by_secret(b""), None);
        }
    }

    #[test]
    fn a_caller_may_have_several_proofs_and_a_certificate_several_names() {
        let text = format!(
            "sender authorizer certificate=spiffe://example.org/sender bearer={DIGEST} \
             certificate=Sender.example.org\n"
        );
        let credentials = Credentials::parse(text.as_bytes()).expect("well formed");
        let find = |names: &[CertificateName]| {
            let caller = credentials.find_by_certificate(names).expect("one caller");
            caller.map(|caller| caller.name.as_str().to_owned())
        };
        let name = |text| CertificateName::parse(text).expect("valid");
        let sender = Some("sender".to_owned());
        assert_eq!(find(&[name("spiffe://example.org/sender")]), sender);
        let second = [name("other.example.org"), name("sender.example.org")];
        assert_eq!(find(&second), sender);
        assert_eq!(find(&[name("spiffe://example.org/Sender")]), None);
        assert_eq!(
            find(&[CertificateName::Uri("sender.example.org".into())]),
            None
        );
        assert_eq!(find(&[]), None);
    }

    #[test]
    fn a_certificate_with_the_names_of_two_callers_is_neithers() {
        let text = "sender authorizer certificate=sender.example certificate=spiffe://x/sender\n\
                    operator admin certificate=operator.example\n";
        let credentials = Credentials::parse(text.as_bytes()).expect("well formed");
        let find = |names: &[&str]| {
            let names: Vec<_> = names
                .iter()
                .map(|name| CertificateName::parse(name).expect("valid"))
                .collect();
            let found = credentials.find_by_certificate(&names);
            found.map(|caller| caller.expect("a caller").name.as_str().to_owned())
        };
        let both = ["sender.example", "unlisted.example", "spiffe://x/sender"];
        assert_eq!(find(&both), Ok("sender".to_owned()));
        for ambiguous in [
            &["sender.example", "operator.example"][..],
            &["operator.example", "sender.example"],
            &["sender.example", "spiffe://x/sender", "operator.example"],
        ] {
            let error = find(ambiguous).expect_err("ambiguous").to_string();
            assert!(
                error.contains("sender") && error.contains("operator"),
                "{error}"
            );
        }
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
        let is_certificate = |mistake| matches!(mistake, Mistake::Certificate(_));
        assert!(is_certificate(mistake("x admin certificate=*.example.org")));
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
        let whole = "dashboard admin certificate=a.example accounts=acme\n";
        for length in 1..whole.len() {
            let cut_off = Credentials::parse(&whole.as_bytes()[..length]);
            assert_eq!(cut_off.err(), Some(InvalidCredentials::CutOff), "{length}");
        }
        assert!(Credentials::parse(whole.as_bytes()).is_ok());
        let empty = Credentials::parse(b" \n# nobody\n");
        assert_eq!(empty.err(), Some(InvalidCredentials::NoCaller));
        let binary = Credentials::parse(b"\xff");
        assert_eq!(binary.err(), Some(InvalidCredentials::NotText));
    }
}
