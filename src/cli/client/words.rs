//! Translates what the service says about its calls and fields into the commands and flags of this program.

/// Names of the API that no other text has, and what they are here.
const WORDS: [(&str, &str); 30] = [
    ("Create", "`keyservice keys create`"),
    ("List", "`keyservice keys list`"),
    ("Get", "`keyservice keys get`"),
    ("Update", "`keyservice keys update`"),
    ("Rotate", "`keyservice keys rotate`"),
    ("Suspend", "`keyservice keys suspend`"),
    ("Resume", "`keyservice keys resume`"),
    ("Revoke", "`keyservice keys revoke`"),
    ("BatchRevoke", "`keyservice keys batch-revoke`"),
    ("Authorize", "`keyservice authorize`"),
    ("AddDomain", "`keyservice domains add`"),
    ("RemoveDomain", "`keyservice domains remove`"),
    ("ListDomains", "`keyservice domains list`"),
    ("SuspendAccount", "`keyservice accounts suspend`"),
    ("ResumeAccount", "`keyservice accounts resume`"),
    ("GetAccount", "`keyservice accounts get`"),
    ("account_id", "--account"),
    ("all_accounts", "--all-accounts"),
    ("request_id", "--request-id"),
    ("expire_time", "--expires"),
    ("create_time_before", "--created-before"),
    ("unused_since", "--unused-since"),
    ("name_prefix", "--name-prefix"),
    ("include_subdomains", "--include-subdomains"),
    ("key_id", "KEY_ID"),
    ("key_ids", "--key-ids-file"),
    ("page_token", "the place in the list"),
    ("update_mask", "what to change"),
    ("dry_run", "--dry-run"),
    ("revoke_time", "the time of its revocation"),
];

/// Fields whose names are also plain English. A message about one begins with it.
const FIELDS: [(&str, &str); 5] = [
    ("name", "--name"),
    ("labels", "--label"),
    ("reason", "--reason"),
    ("overlap", "--overlap"),
    ("preview", "--preview"),
];

/// The message in the words of this program.
pub(super) fn own_words(message: &str) -> String {
    let (first, rest) = message.split_once(' ').unwrap_or((message, ""));
    let flag = FIELDS.iter().find(|(field, _)| *field == first);
    let message = flag.map_or(message.to_owned(), |(_, flag)| format!("{flag} {rest}"));
    let is_part_of_word = |letter: char| letter.is_alphanumeric() || "_./".contains(letter);
    let mut translated = String::new();
    for piece in message.split_inclusive(|letter| !is_part_of_word(letter)) {
        let word = piece.trim_end_matches(|letter| !is_part_of_word(letter));
        let (path, end) = (word.trim_end_matches('.'), &piece[word.len()..]);
        let name = path.rsplit('/').next().unwrap_or(path);
        let known = WORDS.iter().find(|(of_api, _)| *of_api == name);
        match known {
            Some((_, own)) => translated.extend([*own, &word[path.len()..], end]),
            None => translated.push_str(piece),
        }
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_fields_of_the_api_become_commands_and_flags() {
        for (said, own) in [
            (
                "verify it, call tosend.keys.v1.DomainService/AddDomain, and then try again",
                "verify it, call `keyservice domains add`, and then try again",
            ),
            (
                "prolong it with Update before you rotate it",
                "prolong it with `keyservice keys update` before you rotate it",
            ),
            (
                "call Create again with the same request_id",
                "call `keyservice keys create` again with the same --request-id",
            ),
            (
                "read it with Get, then try again.",
                "read it with `keyservice keys get`, then try again.",
            ),
            ("expire_time is in the past", "--expires is in the past"),
            ("name is too long", "--name is too long"),
            ("there is no such name", "there is no such name"),
            ("Listed in a/b/c, key_01m8", "Listed in a/b/c, key_01m8"),
        ] {
            assert_eq!(own_words(said), own);
        }
    }
}
