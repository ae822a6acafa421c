//! `keyservice completions` and `keyservice man`: help for shells and readers, made from the definitions of the
//! commands.

use super::output::{is_broken_pipe, to_stdout};
use clap::Args;
use clap_complete::Shell;
use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

const NAME: &str = "keyservice";

/// Completes the names of contexts, which the definitions of the commands do not know.
const BASH_CONTEXTS: &str = r#"
_keyservice_with_contexts() {
    local names name
    case "${COMP_WORDS[1]} ${COMP_WORDS[COMP_CWORD-1]}" in
        *" --context" | "contexts use" | "contexts check" | "contexts remove")
            names=$(keyservice contexts list --output json 2>/dev/null |
                sed -n 's/.*"name":"\([^"]*\)".*/\1/p')
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
"#;

/// The arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsCommand {
    /// The shell. For bash: `keyservice completions bash > /etc/bash_completion.d/keyservice`.
    shell: Shell,
}

impl CompletionsCommand {
    /// Prints the script to standard output.
    pub(super) fn run(&self, mut command: clap::Command) -> io::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, NAME, &mut script);
        if self.shell == Shell::Bash {
            script.extend_from_slice(BASH_CONTEXTS.as_bytes());
        }
        to_stdout(|output| output.write_all(&script), is_broken_pipe)
    }
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
        fs::create_dir_all(&self.folder)?;
        clap_mangen::generate_to(command.name(NAME), &self.folder)
    }
}
