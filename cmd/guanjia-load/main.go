package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"guanjia/internal/telemetry"
)

type cli struct {
	LogLevel string `help:"debug, info, warn or error." default:"warn" enum:"debug,info,warn,error"`

	Inbound   inboundCmd   `cmd:"" help:"Push callbacks and check every answer."`
	Queue     queueCmd     `cmd:"" help:"Push and claim in the staff queues."`
	Broadcast broadcastCmd `cmd:"" help:"Tell everybody something and compare with what the simulators accepted."`
	Crash     crashCmd     `cmd:"" help:"Kill nodes and stop stores while people write, then count what was lost or doubled."`

	ServeKilled serveKilledCmd `cmd:"" hidden:"" help:"A node that kills itself at a named point."`
}

// run is what a command works with.
type run struct {
	context.Context
	log            *slog.Logger
	stdout, stderr io.Writer
}

// print writes the figures: one JSON object, one line.
func (r run) print(v any) error {
	enc := json.NewEncoder(r.stdout)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print the figures: %w", err)
	}
	return nil
}

// errFound says that the figures, which are printed all the same, show a loss.
var errFound = errors.New("something was lost or doubled, see the figures")

// Exit codes, as guanjia has them.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() { os.Exit(start(os.Args[1:], os.Stdout, os.Stderr)) }

func start(args []string, stdout, stderr io.Writer) int {
	var c cli
	parser, err := kong.New(&c, kong.Name("guanjia-load"), kong.Writers(stdout, stderr), kong.UsageOnError(),
		kong.Description("Load generator and fault driver of Guanjia."), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(stderr, "guanjia-load:", err)
		return exitFailure
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		parser.Errorf("%s", err)
		return exitUsage
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		level = slog.LevelWarn
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := chosen.Run(run{Context: ctx, log: telemetry.NewLogger(stderr, level), stdout: stdout, stderr: stderr}); err != nil {
		fmt.Fprintln(stderr, "guanjia-load:", err)
		return exitFailure
	}
	return 0
}
