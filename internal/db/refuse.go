package db

import (
	"context"
	"database/sql/driver"
)

// refusal is a connector whose connections cannot be had. It lets a method
// that must return a *sql.Row return one that carries our error.
type refusal struct{ err error }

func (r refusal) Connect(context.Context) (driver.Conn, error) { return nil, r.err }
func (r refusal) Driver() driver.Driver                        { return refusalDriver(r) }

type refusalDriver struct{ err error }

func (r refusalDriver) Open(string) (driver.Conn, error) { return nil, r.err }
