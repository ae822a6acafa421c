//! The source is laid out as ARCHITECTURE.md says, and no folder imports one that stands above it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What each folder may import, from the table's rows in their order.
fn permitted_imports() -> BTreeMap<String, BTreeSet<String>> {
    let page = include_str!("../../ARCHITECTURE.md");
    let (_, table) = page.split_once("| folder | holds | imports |").expect("it");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut permitted = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let names = |cell: &str| {
            let quoted = cell.split('`').skip(1).step_by(2);
            quoted
                .map(|name| name.trim_end_matches('/').to_owned())
                .collect::<Vec<_>>()
        };
        let mut imports: BTreeSet<String> = names(cells[3]).into_iter().collect();
        if cells[3].starts_with("all above") {
            let excepted = imports;
            imports = permitted.keys().cloned().collect();
            imports.retain(|name| !excepted.contains(name));
        }
        let folder = names(cells[1]).remove(0);
        assert!(
            imports.iter().all(|name| permitted.contains_key(name)),
            "{folder}"
        );
        permitted.insert(folder, imports);
    }
    permitted
}

/// The folders that a file imports, in its tests too.
fn imports_of(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).expect("read");
    let code: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let mut imports = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let path = &code[at + "crate::".len()..];
        match path.strip_prefix('{') {
            None => imports.extend(first_word(path)),
            Some(group) => imports.extend(members(group).iter().filter_map(|one| first_word(one))),
        }
    }
    imports
}

/// The members of a `use` group, whose `{` was read.
fn members(group: &str) -> Vec<String> {
    let (mut members, mut depth) = (vec![String::new()], 0);
    for letter in group.chars() {
        match letter {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(String::new()),
            letter => members.last_mut().expect("one").push(letter),
        }
    }
    members
}

fn first_word(path: &str) -> Option<String> {
    let words = path.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.map(str::to_owned).find(|word| !word.is_empty())
}

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let nested = paths.map(|path| match path.is_dir() {
        true => source_files(&path),
        false => vec![path],
    });
    let files = nested.flatten();
    files
        .filter(|file| file.extension().is_some_and(|name| name == "rs"))
        .collect()
}

#[test]
fn each_folder_imports_only_what_its_row_in_the_architecture_names() {
    let permitted = permitted_imports();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = BTreeSet::new();
    for file in source_files(&source) {
        let place = file.strip_prefix(&source).expect("within it");
        let folder = first_word(place.to_str().expect("UTF-8")).expect("a name");
        if ["lib", "main"].contains(&folder.as_str()) {
            continue;
        }
        let row = permitted.get(&folder);
        let row = row.unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for {folder}"));
        for import in imports_of(&file) {
            let may = import == folder || row.contains(&import);
            assert!(may, "{} imports {import}", place.display());
        }
        folders.insert(folder);
    }
    assert!(permitted.keys().eq(&folders), "a row names no folder");
}
