//! libgit2, compiled into the program: a commit whose name is known.

fn main() -> Result<(), git2::Error> {
    let directory = std::env::temp_dir().join("matrix-libgit2");
    let _ = std::fs::remove_dir_all(&directory);
    let repository = git2::Repository::init(&directory)?;
    let blob = repository.blob(b"hello\n")?;
    let mut tree = repository.treebuilder(None)?;
    tree.insert("hello.txt", blob, 0o100644)?;
    let tree = repository.find_tree(tree.write()?)?;
    let author = git2::Signature::new("A", "a@example.com", &git2::Time::new(1, 0))?;
    let commit = repository.commit(Some("HEAD"), &author, &author, "first", &tree, &[])?;
    println!("libgit2 {commit}");
    Ok(())
}
