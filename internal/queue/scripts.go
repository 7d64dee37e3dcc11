package queue

import (
	"embed"
	"fmt"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// scripts are the programs that Redis runs. Each file's head says what it
// takes and returns.
type scripts struct {
	push, claim, release, remove, done, hold, drop, recount, epoch, list, stats *redis.Script
}

func loadScripts() scripts {
	common := readLua("common")
	changing := func(name string) *redis.Script { return redis.NewScript(common + readLua(name)) }
	reading := func(name string) *redis.Script { return redis.NewScript(readLua(name)) }
	return scripts{
		push: changing("push"), claim: changing("claim"), release: changing("release"), remove: changing("remove"),
		done: changing("done"), hold: changing("hold"), drop: changing("drop"),
		recount: reading("recount"), epoch: reading("epoch"), list: reading("list"), stats: reading("stats"),
	}
}

func readLua(name string) string {
	b, err := luaFiles.ReadFile("lua/" + name + ".lua")
	if err != nil { // embedded: a missing file is a mistake in this package
		panic(fmt.Sprintf("queue: %v", err))
	}
	return string(b)
}

// call is one run of a script.
type call struct {
	script *redis.Script
	keys   []string
	args   []any
}
