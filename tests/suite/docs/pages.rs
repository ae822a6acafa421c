//! The pages that people read: their links lead somewhere, and the README stays short.

use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading_that_exist() {
    let mut count = 0;
    let mut broken = Vec::new();
    for page in pages() {
        for link in links(&read(&page)) {
            count += 1;
            if !exists(&page, &link) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(count >= 50, "only {count} links were found");
}

#[test]
fn the_readme_links_to_every_page_of_docs() {
    let readme = read(&root().join("README.md"));
    for page in markdown_below(&root().join("docs")) {
        let name = page.file_name().expect("a name").to_string_lossy();
        assert!(readme.contains(&format!("(docs/{name})")), "{name}");
    }
}

#[test]
fn the_readme_stays_short() {
    let readme = read(&root().join("README.md"));
    let (lines, words) = (readme.lines().count(), readme.split_whitespace().count());
    assert!(lines <= 150, "{lines} lines: move some to docs/");
    assert!(words <= 1200, "{words} words: move some to docs/");
}

#[test]
fn a_heading_has_the_anchor_that_github_gives_it() {
    let page = "# One\n## Who *is* `there`, a_b?\n```sh\n# no heading\n[no](link)\n```\n[a](b#c)";
    assert_eq!(anchors(page), ["one", "who-is-there-a_b"]);
    assert_eq!(links(page), ["b#c"]);
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    for folder in ["docs", "deploy", "bench", "tests", "clients"] {
        pages.extend(markdown_below(&root().join(folder)));
    }
    pages
}

/// What the builds of the client libraries leave beside their sources.
const BUILT: [&str; 3] = ["node_modules", "target", "dist"];

fn markdown_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let found = paths.flat_map(|path| match path.extension() {
        // What it leads to is found in its own place.
        _ if path.is_symlink() => Vec::new(),
        _ if BUILT.iter().any(|it| path.ends_with(it)) => Vec::new(),
        _ if path.is_dir() => markdown_below(&path),
        Some(extension) if extension == "md" => vec![path],
        _ => Vec::new(),
    });
    found.collect()
}

pub(super) fn read(page: &Path) -> String {
    fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// Whether a link of a page leads to a file or folder, and to a heading in it if it names one.
fn exists(page: &Path, link: &str) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => page.to_owned(),
        path => page.parent().expect("a folder").join(path),
    };
    let has_heading = || anchors(&read(&target)).iter().any(|it| it == anchor);
    target.exists() && (anchor.is_empty() || has_heading())
}

/// What is linked to, except other sites.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page).collect::<Vec<_>>().join("\n");
    let targets = prose.split("](").skip(1);
    let targets = targets.map(|rest| rest.split(')').next().expect("its start").to_owned());
    targets.filter(|target| !target.contains("://")).collect()
}

/// The anchors of the headings: in lower case, with hyphens for spaces, without other punctuation.
fn anchors(page: &str) -> Vec<String> {
    let headings = prose(page).filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().chars();
        let kept = kept.filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// The lines that are not part of a code block.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}
