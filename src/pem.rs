//! What is wrong with a file that should hold certificates, a private key or revocation lists (PEM).
//!
//! Owns the table of such mistakes. Promises that each message says what the file is, and names a command
//! that turns it into what it should be. Must never repeat a part of the file, which may be a key.

/// What a file should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Certificates,
    PrivateKey,
    RevocationLists,
}

use Wanted::{Certificates, PrivateKey, RevocationLists};

/// A kind of file that is none of those that are wanted.
struct Mistake {
    wanted: &'static [Wanted],
    sign: Sign,
    /// What the file is, and what to do.
    said: &'static str,
}

/// By what a mistake is recognised.
enum Sign {
    /// The file begins so. PEM after it would be read in part, without its first object.
    Begins(&'static [u8]),
    /// The file has an object with such a label, which is passed over. So what it holds is incomplete.
    Label(&'static str),
    /// A header is not at the beginning of its line, so its object is passed over.
    Indented,
    /// The file has this text, and not what is wanted.
    OnlyText(&'static str),
    /// The file has an object with a label that ends so, and not what is wanted.
    OnlyLabel(&'static str),
    /// The file is binary: one object of ASN.1, which goes on with this after its length.
    OnlyDer(&'static [u8]),
}

const ANY: &[Wanted] = &[Certificates, PrivateKey, RevocationLists];

/// The first row that fits counts.
#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    mistake(ANY, Sign::Begins(b"\xEF\xBB\xBF"),
        r"begins with a byte order mark (UTF-8), which hides its first line: remove it with sed -i '1s/^\xEF\xBB\xBF//' FILE"),
    mistake(ANY, Sign::Begins(b"\xFF\xFE"), UTF_16),
    mistake(ANY, Sign::Begins(b"\xFE\xFF"), UTF_16),
    mistake(ANY, Sign::Indented,
        r"has a line -----BEGIN … behind other characters, so it is passed over: put it first in its line, without white space, with sed -i 's/^[[:space:]]*//' FILE"),
    mistake(&[Certificates], Sign::Label("TRUSTED CERTIFICATE"),
        "holds a certificate in OpenSSL's own form (TRUSTED CERTIFICATE): convert it with openssl x509 -in FILE -out NEW"),
    mistake(&[PrivateKey], Sign::OnlyLabel("OPENSSH PRIVATE KEY"),
        "holds a key in OpenSSH's own form: convert it in place with ssh-keygen -p -m PKCS8 -f FILE, or make another with openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out NEW"),
    mistake(&[PrivateKey], Sign::OnlyLabel("ENCRYPTED PRIVATE KEY"), ENCRYPTED),
    mistake(&[PrivateKey], Sign::OnlyText("Proc-Type: 4,ENCRYPTED"), ENCRYPTED),
    mistake(&[PrivateKey], Sign::OnlyLabel("DSA PRIVATE KEY"),
        "holds a DSA key, which no client accepts: make another with openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out NEW"),
    mistake(&[PrivateKey], Sign::OnlyLabel("PRIVATE KEY"), DAMAGED),
    mistake(&[PrivateKey], Sign::OnlyLabel("PUBLIC KEY"),
        "holds a public key and no private key: name the file with the private key, from which openssl pkey -pubout made it"),
    mistake(&[PrivateKey], Sign::OnlyLabel("CERTIFICATE"),
        "holds a certificate and no private key; --tls-cert and --tls-key may be swapped"),
    mistake(&[Certificates], Sign::OnlyLabel("CERTIFICATE REQUEST"),
        "holds a request for a certificate: have the authority sign it, as with openssl x509 -req -in FILE -CA CA -CAkey CA_KEY -out NEW"),
    mistake(&[RevocationLists], Sign::OnlyLabel("X509 CRL"), DAMAGED),
    mistake(&[Certificates], Sign::OnlyLabel("X509 CRL"),
        "holds a certificate revocation list and no certificate: name the certificate's file (--tls-client-ca and --tls-client-crl may be swapped)"),
    mistake(&[Certificates, RevocationLists], Sign::OnlyLabel("PKCS7"),
        "holds its certificates as PKCS #7: convert them with openssl pkcs7 -print_certs -in FILE -out NEW"),
    mistake(&[Certificates], Sign::OnlyLabel("PRIVATE KEY"),
        "holds a private key and no certificate: name the certificate's file (--tls-cert and --tls-key may be swapped)"),
    mistake(&[Certificates], Sign::OnlyLabel("PUBLIC KEY"),
        "holds a public key and no certificate: make one from the private key with openssl req -x509 -key KEY -out NEW, or have an authority sign a request"),
    mistake(&[RevocationLists], Sign::OnlyLabel("CERTIFICATE"),
        "holds a certificate and no certificate revocation list; --tls-client-ca and --tls-client-crl may be swapped"),
    mistake(&[Certificates], Sign::OnlyLabel("CERTIFICATE"), DAMAGED),
    mistake(ANY, Sign::OnlyText("-----BEGIN "),
        "holds an object of another kind (PEM), as its line -----BEGIN … says"),
    mistake(ANY, Sign::OnlyDer(&[2, 1, 3]),
        "is a PKCS #12 file: convert it with openssl pkcs12 -in FILE -nodes -out NEW, and take what this setting needs from NEW"),
    mistake(&[Certificates], Sign::OnlyDer(&[0x30]),
        "is binary (DER), and not PEM: convert it with openssl x509 -inform DER -in FILE -out NEW"),
    mistake(&[PrivateKey], Sign::OnlyDer(&[2]),
        "is binary (DER), and not PEM: convert it with openssl pkey -inform DER -in FILE -out NEW"),
    mistake(&[PrivateKey], Sign::OnlyDer(&[0x30]),
        "is binary (DER), and not PEM; if it is an encrypted key, convert it with openssl pkcs8 -inform DER -in FILE -out NEW"),
    mistake(&[RevocationLists], Sign::OnlyDer(&[0x30]),
        "is binary (DER), and not PEM: convert it with openssl crl -inform DER -in FILE -out NEW"),
    mistake(&[Certificates], Sign::OnlyText(""), "holds no certificate (PEM)"),
    mistake(&[PrivateKey], Sign::OnlyText(""), "holds no private key (PEM)"),
    mistake(&[RevocationLists], Sign::OnlyText(""), "holds no certificate revocation list (PEM)"),
];

const UTF_16: &str = "is UTF-16: convert it with iconv -f UTF-16 -t ASCII FILE > NEW";
const ENCRYPTED: &str = "holds a private key that is encrypted; decrypt it with openssl pkey -in FILE -out NEW, and \
                         restrict who may read NEW";
const DAMAGED: &str = "holds what is wanted, but damaged: a line is missing or was changed, as -----END …; copy the file \
                       again, each line of it by itself";

const fn mistake(wanted: &'static [Wanted], sign: Sign, said: &'static str) -> Mistake {
    Mistake { wanted, sign, said }
}

/// Refuses a file of which a reader of PEM would pass over an object.
pub(crate) fn check(content: &[u8], wanted: Wanted) -> Result<(), &'static str> {
    let found = explain(content, wanted, |sign| !sign.is_of_what_is_missing());
    found.map_or(Ok(()), Err)
}

/// Why there is nothing in the file of what is wanted.
pub(crate) fn why_missing(content: &[u8], wanted: Wanted) -> &'static str {
    explain(content, wanted, |_| true).expect("the table ends with a row for every file")
}

fn explain(content: &[u8], wanted: Wanted, counts: impl Fn(&Sign) -> bool) -> Option<&'static str> {
    let text = String::from_utf8_lossy(content);
    let found = MISTAKES.iter().find(|mistake| {
        mistake.wanted.contains(&wanted)
            && counts(&mistake.sign)
            && mistake.sign.is_in(content, &text)
    });
    found.map(|mistake| mistake.said)
}

impl Sign {
    /// Whether it says anything only if nothing was found of what is wanted.
    fn is_of_what_is_missing(&self) -> bool {
        matches!(
            self,
            Self::OnlyText(_) | Self::OnlyLabel(_) | Self::OnlyDer(_)
        )
    }

    fn is_in(&self, content: &[u8], text: &str) -> bool {
        let mut labels = text.split("-----BEGIN ").skip(1);
        let mut labels = labels
            .by_ref()
            .filter_map(|rest| rest.split("-----").next());
        match self {
            Self::Begins(bytes) => content.starts_with(bytes),
            Self::Label(wanted) => labels.any(|label| label == *wanted),
            Self::Indented => text
                .split(['\n', '\r'])
                .any(|line| line.trim_start() != line && line.trim_start().starts_with(BEGIN)),
            Self::OnlyText(part) => text.contains(part),
            Self::OnlyLabel(end) => labels.any(|label| label.ends_with(end)),
            Self::OnlyDer(inner) => der_content(content).is_some_and(|it| it.starts_with(inner)),
        }
    }
}

const BEGIN: &str = "-----BEGIN ";

/// What a sequence of ASN.1 holds, if the file is one.
fn der_content(content: &[u8]) -> Option<&[u8]> {
    match content {
        [0x30, 0x81, _, rest @ ..] | [0x30, 0x82, _, _, rest @ ..] => Some(rest),
        [0x30, len @ 0x10..=0x7f, rest @ ..] if rest.len() == usize::from(*len) => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::KeyPair;

    fn certificate() -> (String, Vec<u8>, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("valid");
        let certificate = params.self_signed(&key).expect("a certificate");
        (certificate.pem(), certificate.der().to_vec(), key)
    }

    fn object(label: &str) -> Vec<u8> {
        format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n").into_bytes()
    }

    fn with(prefix: &[u8], rest: &str) -> Vec<u8> {
        [prefix, rest.as_bytes()].concat()
    }

    /// What is wanted, the label of what there is, and what is said.
    #[rustfmt::skip]
    const OTHER_OBJECTS: [(Wanted, &str, &str); 13] = [
        (Certificates, "TRUSTED CERTIFICATE", "openssl x509 -in"),
        (Certificates, "PKCS7", "openssl pkcs7 -print_certs"),
        (Certificates, "CERTIFICATE REQUEST", "openssl x509 -req"),
        (Certificates, "PUBLIC KEY", "a public key and no certificate"),
        (Certificates, "X509 CRL", "--tls-client-crl may be swapped"),
        (Certificates, "OPENSSH PRIVATE KEY", "a private key and no certificate"),
        (PrivateKey, "OPENSSH PRIVATE KEY", "ssh-keygen -p -m PKCS8"),
        (PrivateKey, "ENCRYPTED PRIVATE KEY", "openssl pkey -in"),
        (PrivateKey, "DSA PRIVATE KEY", "openssl genpkey"),
        (PrivateKey, "CERTIFICATE", "a certificate and no private key"),
        (PrivateKey, "PUBLIC KEY", "the file with the private key"),
        (PrivateKey, "EC PARAMETERS", "an object of another kind"),
        (RevocationLists, "CERTIFICATE", "--tls-client-crl may be swapped"),
    ];

    #[test]
    fn another_object_is_named_with_the_command_that_mends_it() {
        for (wanted, label, said) in OTHER_OBJECTS {
            let why = why_missing(&object(label), wanted);
            assert!(why.contains(said), "{label}: {said} is missing in: {why}");
        }
    }

    #[test]
    fn another_form_is_named_with_the_command_that_mends_it() {
        let (pem, der, key) = certificate();
        let utf_16 = "\u{feff}".encode_utf16().chain(pem.encode_utf16());
        let utf_16 = utf_16.flat_map(u16::to_le_bytes).collect();
        let indented = format!("  {}", pem.replace('\n', "\n  ")).into_bytes();
        let cut_off = b"-----BEGIN CERTIFICATE-----\nMAA=\n".to_vec();
        let encrypted = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n".to_vec();
        let pkcs_12 = [0x30, 0x82, 9, 9, 2, 1, 3, 0x30].to_vec();
        for (wanted, content, said) in [
            (Certificates, with(b"\xEF\xBB\xBF", &pem), "sed -i '1s/^"),
            (PrivateKey, with(b"\xEF\xBB\xBF", &pem), "byte order mark"),
            (Certificates, utf_16, "iconv -f UTF-16"),
            (Certificates, indented, "sed -i 's/^[[:space:]]*//'"),
            (Certificates, der.clone(), "openssl x509 -inform DER"),
            (Certificates, pkcs_12.clone(), "openssl pkcs12"),
            (Certificates, cut_off, "damaged"),
            (Certificates, b"TUFBPQ==".to_vec(), "no certificate (PEM)"),
            (PrivateKey, encrypted, "openssl pkey -in"),
            (PrivateKey, key.serialize_der(), "openssl pkey -inform DER"),
            (PrivateKey, pkcs_12, "openssl pkcs12"),
            (PrivateKey, b"hunter2".to_vec(), "no private key (PEM)"),
            (RevocationLists, der, "openssl crl -inform DER"),
            (RevocationLists, Vec::new(), "revocation list (PEM)"),
        ] {
            let why = why_missing(&content, wanted);
            assert!(why.contains(said), "{said} is missing in: {why}");
        }
    }

    /// Otherwise a chain, or a set of authorities, would be taken without one of them.
    #[test]
    fn a_file_with_an_object_that_would_be_passed_over_is_refused() {
        let (pem, ..) = certificate();
        for content in [
            with(b"\xEF\xBB\xBF", &format!("{pem}{pem}")),
            format!("{pem} {pem}").into_bytes(),
            [pem.as_bytes(), &object("TRUSTED CERTIFICATE")].concat(),
        ] {
            check(&content, Certificates).expect_err("an object would be missing");
        }
        for content in [
            pem.replace('\n', "\r\n"),
            format!("subject=/CN=a\n\n{pem}\n\n{pem}"),
            format!("{pem}-----BEGIN PRIVATE KEY-----\n"),
        ] {
            assert_eq!(check(content.as_bytes(), Certificates), Ok(()));
        }
    }
}
