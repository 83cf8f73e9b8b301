//! SQLite, compiled into the program.

use rusqlite::Connection;

fn main() -> rusqlite::Result<()> {
    let db = Connection::open_in_memory()?;
    db.execute_batch("CREATE TABLE t (n INTEGER, name TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (39, 'c');")?;
    let sum: i64 = db.query_row("SELECT sum(n) FROM t", [], |row| row.get(0))?;
    let names: String = db.query_row("SELECT group_concat(upper(name), '') FROM t", [], |row| row.get(0))?;
    println!("sqlite {sum} {names}");
    Ok(())
}
