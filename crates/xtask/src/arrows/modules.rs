//! Which module of a crate uses which, and the cycles among them.
//!
//! A path counts for the module that *defines* what it names: re-exports are followed, so a parent
//! that only hands on what its children define is no part of a cycle. At each level of the tree
//! the children of one module are compared, each with all that is below it. A parent and its own
//! child may use each other: they are one idea in several files.
//!
//! ```text
//!   nat:           leave --> gateway --> router --> gateway       a cycle among top-level modules
//!   nat::gateway:  arp --> neighbour --> table --> neighbour      a cycle one level below
//! ```
//! A method call names no path, so an `impl` in another module than its type's is not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use proc_macro2::TokenStream;

use super::syntax::{self, Code};
use super::table::{KNOWN_CYCLES, KnownCycle, LAYERS, Layers};

/// How many re-exports are followed before a name counts as one of another crate.
const MAX_HOPS: usize = 16;

type ModulePath = Vec<String>;

/// The modules of one crate, tests left out.
#[derive(Debug, Default)]
pub(super) struct Tree {
    modules: BTreeMap<ModulePath, Module>,
}

#[derive(Debug)]
struct Module {
    code: Code,
    /// The module whose file it stands in: itself, unless it is inline.
    file_module: ModulePath,
    file: PathBuf,
}

/// Who uses whom among the children of one module: for each pair, one place that shows it.
pub(super) type Level = BTreeMap<String, BTreeMap<String, String>>;

impl Tree {
    /// Reads the crate whose root file is `root`, and every module that it declares.
    ///
    /// # Errors
    /// When a file cannot be read or is not Rust.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        let directory = root.parent().unwrap_or_else(|| Path::new(""));
        tree.read_file(root, directory, &[])?;
        Ok(tree)
    }

    /// Reads `file`, whose child modules have their files in `directory`.
    fn read_file(&mut self, file: &Path, directory: &Path, path: &[String]) -> Result<()> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let tokens: TokenStream = text
            .parse()
            .map_err(|error| anyhow!("{}: is not Rust: {error}", file.display()))?;
        let code = Code::read(tokens);
        for child in files_below(&code, directory, path) {
            let beside = child.directory.with_extension("rs");
            let within = child.directory.join("mod.rs");
            let found = if beside.exists() { beside } else { within };
            self.read_file(&found, &child.directory, &child.path)?;
        }
        self.insert(path.to_vec(), code, path, file);
        Ok(())
    }

    fn insert(&mut self, path: ModulePath, mut code: Code, file_module: &[String], file: &Path) {
        for (name, inline) in &mut code.modules {
            if let Some(inline) = inline.take() {
                self.insert(below(&path, name), inline, file_module, file);
            }
        }
        let module = Module {
            code,
            file_module: file_module.to_vec(),
            file: file.to_path_buf(),
        };
        self.modules.insert(path, module);
    }

    /// Every level of the tree that has an arrow, by the path of the parent (`""` for the crate).
    pub(super) fn levels(&self) -> BTreeMap<String, Level> {
        let mut levels: BTreeMap<String, Level> = BTreeMap::new();
        for (path, module) in &self.modules {
            let imports = module.code.imports.iter().map(|import| &import.path);
            for used in imports.chain(&module.code.paths) {
                let Some(defined_in) = self.definition(path, &used.segments, 0) else {
                    continue;
                };
                let (from, to) = (&module.file_module, self.file_module(&defined_in));
                let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
                let (Some(user), Some(used_one)) = (from.get(shared), to.get(shared)) else {
                    continue;
                };
                let level = levels.entry(from[..shared].join("::")).or_default();
                level
                    .entry(user.clone())
                    .or_default()
                    .entry(used_one.clone())
                    .or_insert_with(|| witness(&module.file, used));
            }
        }
        levels
    }

    /// The names of the modules that the crate's root declares.
    pub(super) fn top_level(&self) -> BTreeSet<&str> {
        self.modules
            .keys()
            .filter_map(|path| path.first())
            .map(String::as_str)
            .collect()
    }

    fn file_module<'t>(&'t self, path: &'t ModulePath) -> &'t ModulePath {
        self.modules.get(path).map_or(path, |m| &m.file_module)
    }

    /// The module that defines what `segments` names in module `at`; `None` for what another crate
    /// or the function around it defines.
    fn definition(&self, at: &[String], segments: &[String], hops: usize) -> Option<ModulePath> {
        let (first, mut rest) = segments.split_first()?;
        let mut module = match first.as_str() {
            "crate" => Vec::new(),
            "self" => at.to_vec(),
            "super" => parent(at)?,
            name => match self.enter(at, name, hops)? {
                Entered::Module(module) => module,
                Entered::Item(module) => return Some(module),
                Entered::Unknown => return None,
            },
        };
        while let Some((name, further)) = rest.split_first() {
            rest = further;
            if name == "super" {
                module = parent(&module)?;
                continue;
            }
            match self.enter(&module, name, hops)? {
                Entered::Module(next) => module = next,
                Entered::Item(defined_in) => return Some(defined_in),
                Entered::Unknown => return Some(module),
            }
        }
        Some(module)
    }

    /// Returns what `name` is in `module`; `None` for what another crate defines.
    fn enter(&self, module: &[String], name: &str, hops: usize) -> Option<Entered> {
        let child = below(module, name);
        if self.modules.contains_key(&child) {
            return Some(Entered::Module(child));
        }
        let imports = &self.modules.get(module)?.code.imports;
        let Some(import) = imports.iter().find(|import| import.name == name) else {
            return Some(Entered::Unknown);
        };
        if hops == MAX_HOPS {
            return None;
        }
        let defined_in = self.definition(module, &import.path.segments, hops + 1)?;
        let names_it = import.path.segments.last() == defined_in.last();
        Some(if names_it {
            Entered::Module(defined_in)
        } else {
            Entered::Item(defined_in)
        })
    }
}

/// The meaning of a name.
enum Entered {
    Module(ModulePath),
    /// An item, defined in this module.
    Item(ModulePath),
    /// Neither a module nor imported: an item of the module where it was looked up, if any.
    Unknown,
}

struct ChildFile {
    path: ModulePath,
    directory: PathBuf,
}

/// The modules declared in `code`, or in an inline module of it, that have files of their own.
fn files_below(code: &Code, directory: &Path, path: &[String]) -> Vec<ChildFile> {
    let mut files = Vec::new();
    for (name, inline) in &code.modules {
        let (path, directory) = (below(path, name), directory.join(name));
        match inline {
            Some(inline) => files.extend(files_below(inline, &directory, &path)),
            None => files.push(ChildFile { path, directory }),
        }
    }
    files
}

fn below(path: &[String], name: &str) -> ModulePath {
    let mut child = path.to_vec();
    child.push(name.to_owned());
    child
}

fn parent(path: &[String]) -> Option<ModulePath> {
    Some(path.split_last()?.1.to_vec())
}

fn witness(file: &Path, used: &syntax::Path) -> String {
    format!(
        "{}:{} uses {}",
        file.display(),
        used.line,
        used.segments.join("::")
    )
}

/// The sets of modules that reach each other, each of two or more, sorted.
pub(super) fn cycles(level: &Level) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = level
        .keys()
        .map(|from| (from, reachable(level, from)))
        .collect();
    let mut cycles = BTreeSet::new();
    for (from, to) in &reached {
        if to.contains(from) {
            let back = |other: &&&String| reached.get(*other).is_some_and(|r| r.contains(from));
            cycles.insert(to.iter().filter(back).map(|&m| m.clone()).collect());
        }
    }
    cycles.into_iter().collect()
}

fn reachable<'l>(level: &'l Level, from: &String) -> BTreeSet<&'l String> {
    let mut reached = BTreeSet::new();
    let mut pending: Vec<&String> = level
        .get(from)
        .into_iter()
        .flat_map(BTreeMap::keys)
        .collect();
    while let Some(module) = pending.pop() {
        if reached.insert(module) {
            pending.extend(level.get(module).into_iter().flat_map(BTreeMap::keys));
        }
    }
    reached
}

/// Returns everything in the crate `package` that contradicts the tables of [`LAYERS`] and [`KNOWN_CYCLES`].
pub(super) fn check(package: &str, tree: &Tree) -> Vec<String> {
    let levels = tree.levels();
    let layers = LAYERS.iter().find(|layers| layers.package == package);
    let mut known: Vec<&KnownCycle> = KNOWN_CYCLES
        .iter()
        .filter(|known| known.package == package)
        .collect();
    let mut findings = Vec::new();
    for (parent, level) in &levels {
        if !parent.is_empty() && layers.is_none() {
            continue;
        }
        for cycle in cycles(level) {
            let holds = |k: &&KnownCycle| {
                parent.is_empty() && cycle.iter().all(|m| k.modules.contains(&m.as_str()))
            };
            match known.iter().position(holds) {
                Some(at) => _ = known.swap_remove(at),
                None => findings.push(describe(package, parent, level, &cycle)),
            }
        }
    }
    for gone in known {
        let modules = gone.modules;
        findings.push(format!(
            "{package}: {modules:?} is a cycle no more: take it out of the table"
        ));
    }
    if let (Some(layers), Some(level)) = (layers, levels.get("")) {
        findings.extend(against_the_order(layers, &tree.top_level(), level));
    }
    findings
}

/// A cycle, with a place for each of its arrows.
fn describe(package: &str, parent: &str, level: &Level, cycle: &BTreeSet<String>) -> String {
    let mut text = format!("{package}: cycle among modules of `{parent}`: {cycle:?}");
    for (from, used) in level.iter().filter(|(from, _)| cycle.contains(*from)) {
        for (to, witness) in used.iter().filter(|(to, _)| cycle.contains(*to)) {
            text.push_str(&format!("\n    {from} -> {to}: {witness}"));
        }
    }
    text
}

/// Every arrow from a lower group of modules to a higher one, and modules without a group.
fn against_the_order(layers: &Layers, modules: &BTreeSet<&str>, level: &Level) -> Vec<String> {
    let Layers { package, groups } = *layers;
    let group = |module: &str| groups.iter().position(|group| group.contains(&module));
    let mut findings = Vec::new();
    for module in modules.iter().filter(|module| group(module).is_none()) {
        findings.push(format!(
            "{package}: module {module} has no group in the table"
        ));
    }
    for gone in groups.iter().copied().flatten() {
        if !modules.contains(gone) {
            findings.push(format!(
                "{package}: {gone} has a group in the table but is no module"
            ));
        }
    }
    for (from, used) in level {
        for (to, witness) in used {
            if let (Some(lower), Some(higher)) = (group(from), group(to))
                && lower < higher
            {
                findings.push(format!("{package}: {from} may not use {to}: {witness}"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate with these files below `src`.
    fn tree(files: &[(&str, &str)]) -> Tree {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Tree::read(&directory.path().join(files[0].0)).unwrap()
    }

    fn arrows(tree: &Tree, parent: &str) -> Vec<String> {
        let levels = tree.levels();
        let level = levels.get(parent).into_iter().flatten();
        level
            .flat_map(|(from, used)| used.keys().map(move |to| format!("{from} -> {to}")))
            .collect()
    }

    fn found(tree: &Tree, parent: &str) -> Vec<Vec<String>> {
        let levels = tree.levels();
        let cycles = levels.get(parent).map(cycles).unwrap_or_default();
        cycles
            .into_iter()
            .map(|c| c.into_iter().collect())
            .collect()
    }

    #[test]
    fn a_reexport_leads_to_the_module_that_defines() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b; pub use a::{A, C as D};"),
            ("a.rs", "pub struct A; pub struct C;"),
            (
                "b.rs",
                "use crate::{A, D}; fn f(_: A, _: crate::D) { std::fs::read(D) }",
            ),
        ]);
        assert_eq!(arrows(&tree, ""), ["b -> a"]);
        assert_eq!(found(&tree, ""), Vec::<Vec<String>>::new());
    }

    #[test]
    fn a_cycle_is_found_through_several_modules_and_with_its_places() {
        let tree = tree(&[
            ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "\nfn f() { super::c::g() }"),
            ("c.rs", "macro!(crate::a::X); use crate::d;"),
            ("d.rs", "#[cfg(test)] use crate::a;"),
        ]);
        assert_eq!(found(&tree, ""), [["a", "b", "c"]]);
        let findings = check("some-crate", &tree);
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].contains("b.rs:2 uses super::c::g"),
            "{findings:?}"
        );
    }

    #[test]
    fn a_child_counts_for_its_parent_and_below_it_levels_are_apart() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b;"),
            (
                "a/mod.rs",
                "mod x; mod y; pub use x::X; pub(crate) struct Own; mod inline { use super::x::X; }",
            ),
            ("a/x.rs", "use super::y::Y; use crate::b::B;"),
            ("a/y.rs", "use super::X; use super::Own; fn f(_: Own) {}"),
            ("b.rs", "use crate::a::X;"),
        ]);
        assert_eq!(found(&tree, ""), [["a", "b"]]);
        assert_eq!(found(&tree, "a"), [["x", "y"]]);
        assert_eq!(arrows(&tree, "a"), ["x -> y", "y -> x"]);
    }

    #[test]
    fn an_imported_module_is_followed_and_another_crate_is_not() {
        let tree = tree(&[
            ("main.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b; fn f() { b::deep::g() }"),
            ("b.rs", "pub mod deep; use pipeline::c;"),
            ("b/deep.rs", "use super::c::Instant; pub fn g() {}"),
            ("c.rs", ""),
        ]);
        assert_eq!(arrows(&tree, ""), ["a -> b"]);
    }

    #[test]
    fn the_order_of_groups_holds_in_one_direction() {
        let layers = Layers {
            package: "some-crate",
            groups: &[&["a"], &["b", "gone"]],
        };
        let tree = tree(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::c::C;"),
            ("c.rs", ""),
        ]);
        let findings = against_the_order(&layers, &tree.top_level(), &tree.levels()[""]);
        let expected = [
            "module c has no group",
            "gone has a group",
            "a may not use b",
        ];
        assert_eq!(findings.len(), expected.len(), "{findings:?}");
        for (finding, part) in findings.iter().zip(expected) {
            assert!(finding.contains(part), "{finding}");
        }
    }
}
