// Program go-sqlite has SQLite, in C, in it.
package main

import (
	"database/sql"
	"fmt"
	"log"

	_ "github.com/mattn/go-sqlite3"
)

func main() {
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1), (2), (39)"); err != nil {
		log.Fatal(err)
	}
	var sum int
	if err := db.QueryRow("SELECT sum(n) FROM t").Scan(&sum); err != nil {
		log.Fatal(err)
	}
	fmt.Println("go-sqlite", sum)
}
