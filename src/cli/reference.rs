//! `keyservice completions` and `keyservice man`: help for shells and readers, made from the definitions of the
//! commands.

use super::output::{is_broken_pipe, to_stdout};
use crate::model::audit_record::MethodName;
use clap::{Args, ValueHint, builder::PossibleValuesParser};
use clap_complete::Shell;
use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

const NAME: &str = "keyservice";

/// Marks the arguments that are the name of a context, of which shells know nothing. No argument is that of a user.
const CONTEXT_HINT: ValueHint = ValueHint::Username;

/// What completes an argument with that hint, and what does it here.
const ZSH_HINT: [&str; 2] = ["_users", "_keyservice_context_names"];
const FISH_HINT: [&str; 2] = ["__fish_complete_users", "__keyservice_context_names"];

/// Prints the names of contexts, in every shell.
macro_rules! names_of_contexts {
    () => {
        r#"keyservice contexts list --output json 2>/dev/null |
        sed -n 's/.*"name":"\([^"]*\)".*/\1/p'"#
    };
}

const ZSH_CONTEXTS: &str = concat!(
    r#"
_keyservice_context_names() {
    local -a names
    names=(${(f)"$("#,
    names_of_contexts!(),
    r#")"})
    compadd -a names
}
"#
);

/// The script itself completes flags alone.
const FISH_CONTEXTS: &str = concat!(
    r"
function __keyservice_context_names
    ",
    names_of_contexts!(),
    r#"
end
complete -c keyservice -n "__fish_seen_subcommand_from contexts; and __fish_seen_subcommand_from use check remove" -f -a "(__keyservice_context_names)"
"#
);

const BASH_CONTEXTS: &str = concat!(
    r#"
_keyservice_with_contexts() {
    local names name
    case "${COMP_WORDS[1]} ${COMP_WORDS[COMP_CWORD-1]}" in
        *" --context" | "contexts use" | "contexts check" | "contexts remove")
            names=$("#,
    names_of_contexts!(),
    r#")
            # A name is text, of which the shell must run nothing.
            COMPREPLY=()
            while IFS= read -r name; do
                [[ $name == "${COMP_WORDS[COMP_CWORD]}"* ]] && COMPREPLY+=("$name")
            done <<<"$names"
            ;;
        *) _keyservice "$@" ;;
    esac
}
complete -F _keyservice_with_contexts -o bashdefault -o default keyservice
"#
);

/// The arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsCommand {
    /// The shell. For bash: `keyservice completions bash > /etc/bash_completion.d/keyservice`.
    shell: Shell,
}

impl CompletionsCommand {
    /// Prints the script to standard output.
    pub(super) fn run(&self, command: clap::Command) -> io::Result<()> {
        let mut command = with_values(mark_contexts(command));
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, NAME, &mut script);
        let mut script = String::from_utf8(script).expect("a script is text");
        match self.shell {
            Shell::Bash => script += BASH_CONTEXTS,
            Shell::Zsh => {
                let (head, rest) = script.split_once('\n').unwrap_or((&script, ""));
                let [hint, names] = ZSH_HINT;
                // What loads the file runs its last lines.
                script = format!("{head}\n{ZSH_CONTEXTS}{}", rest.replace(hint, names));
            }
            Shell::Fish => {
                let [hint, names] = FISH_HINT;
                script = script.replace(hint, names) + FISH_CONTEXTS;
            }
            _ => {}
        }
        to_stdout(|output| output.write_all(script.as_bytes()), is_broken_pipe)
    }
}

/// Gives the hint to `--context` of every command, and to the NAME of those that work on a context which exists.
fn mark_contexts(command: clap::Command) -> clap::Command {
    let mark = |argument: clap::Arg| argument.value_hint(CONTEXT_HINT);
    command.mut_subcommands(|command| {
        let has_flag = command.get_arguments().any(|it| it.get_id() == "context");
        let command = if has_flag {
            command.mut_arg("context", mark)
        } else {
            command
        };
        match command.get_name() {
            "contexts" => command.mut_subcommands(|it| match it.get_name() {
                "use" | "check" | "remove" => it.mut_arg("name", mark),
                _ => it,
            }),
            _ => command,
        }
    })
}

/// Tells shells the values of arguments that the commands read themselves.
fn with_values(command: clap::Command) -> clap::Command {
    // A shell's script lives no longer than this process.
    let methods = MethodName::all().map(|method| &*method.as_str().to_owned().leak());
    let methods = PossibleValuesParser::new(methods);
    command.mut_subcommands(|command| match command.get_name() {
        "audit" => command.mut_arg("methods", |it| it.value_parser(methods.clone())),
        "credential" => command.mut_subcommands(|new| {
            new.mut_arg("role", |it| it.value_parser(["authorizer", "admin"]))
        }),
        _ => command,
    })
}

/// Each command with the usage that its help shows, which has the values of its flags.
fn with_usage(mut command: clap::Command) -> clap::Command {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    command.override_usage(usage).mut_subcommands(with_usage)
}

/// The arguments of `man`.
#[derive(Debug, Args)]
pub(super) struct ManCommand {
    /// The folder that gets the pages, such as ~/.local/share/man/man1. It is made if it is not there.
    folder: PathBuf,
}

impl ManCommand {
    /// Writes a page for each command.
    pub(super) fn run(&self, command: clap::Command) -> io::Result<()> {
        let mut command = command.name(NAME).disable_help_subcommand(true);
        command.build();
        let command = with_usage(command);
        let made = fs::create_dir_all(&self.folder);
        let written = made.and_then(|()| clap_mangen::generate_to(command, &self.folder));
        written.map_err(|error| {
            let folder = self.folder.display();
            let why = format!("the manual cannot be written to {folder}: {error}");
            io::Error::new(error.kind(), why)
        })
    }
}
