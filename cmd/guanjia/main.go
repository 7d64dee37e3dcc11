// Command guanjia is the building steward: it answers residents on WeChat,
// brings their matters to staff in WeCom work groups, and holds the simulators
// to try all of it. One file a subcommand, no logic: internal/app is the program.
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

	"guanjia/internal/config"
	"guanjia/internal/telemetry"
)

type cli struct {
	Config string `help:"Settings file (YAML). GUANJIA_* variables override it, flags override both." type:"path" placeholder:"FILE" env:"GUANJIA_CONFIG"`

	Demo     demoCmd     `cmd:"" help:"Everything in one process on embedded stores, with the simulators and the sample company."`
	Serve    serveCmd    `cmd:"" help:"Serve residents and staff with the configured vendors."`
	Sandbox  sandboxCmd  `cmd:"" help:"The simulators of WeChat, WeCom and Aliyun SMS alone."`
	Seed     seedCmd     `cmd:"" help:"Load the sample company into the database and the simulators."`
	Migrate  migrateCmd  `cmd:"" help:"Bring the database schema up to date."`
	Doctor   doctorCmd   `cmd:"" help:"Check every setting; with --online, every vendor."`
	Release  releaseCmd  `cmd:"" help:"Let a database send again that was locked because a backup was restored."`
	Company  companyCmd  `cmd:"" help:"The property companies of this installation."`
	Import   importCmd   `cmd:"" help:"Bring data into a running server."`
	Notice   noticeCmd   `cmd:"" help:"Notices to many homes, by a running server."`
	Survey   surveyCmd   `cmd:"" help:"Surveys: ask residents how satisfied they are."`
	Export   exportCmd   `cmd:"" help:"Fetch a register from a running server."`
	Classify classifyCmd `cmd:"" help:"Read residents' messages from stdin, one JSON line each, and print what they mean."`
	Answer   answerCmd   `cmd:"" help:"Read residents' questions from stdin, one JSON line each, and print the article that answers each."`
	Train    trainCmd    `cmd:"" help:"Train the weights by which residents' messages are read, from the labelled corpus."`
}

// out is what a command writes to and reads from.
type out struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
}

func main() {
	os.Exit(run(os.Args[1:], out{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}))
}

// Exit codes of the interfaces page.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

func run(args []string, o out) int {
	var c cli
	code := -1
	parser, err := kong.New(&c, kong.Name("guanjia"), kong.Writers(o.stdout, o.stderr),
		kong.Description("Guanjia (管家): residents on WeChat, staff in WeCom work groups, notices by SMS and template message."),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Exit(func(n int) { code = n; panic(exited{}) }))
	if err != nil {
		fmt.Fprintln(o.stderr, "guanjia:", err)
		return exitFailure
	}
	kctx, err, ended := parse(parser, args)
	if ended {
		return code
	}
	if err != nil {
		parser.Errorf("%s", err)
		fmt.Fprintln(o.stderr, "Run `guanjia --help` for what there is.")
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err = kctx.Run(&c, o, runContext{ctx})
	var problems config.Problems
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &problems):
		for _, p := range problems {
			fmt.Fprintln(o.stderr, "guanjia: setting", p)
		}
		return exitFailure
	case errors.As(err, &usage{}):
		fmt.Fprintln(o.stderr, "guanjia:", err)
		return exitUsage
	default:
		fmt.Fprintln(o.stderr, "guanjia:", err)
		return exitFailure
	}
}

// runContext lets kong hand a context to the commands.
type runContext struct{ context.Context }

type exited struct{}

// parse runs kong, which leaves by panic for --help since Exit must not return.
func parse(p *kong.Kong, args []string) (ctx *kong.Context, err error, ended bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exited); !ok {
				panic(r)
			}
			ended = true
		}
	}()
	ctx, err = p.Parse(args)
	return ctx, err, false
}

// logger writes JSON to stderr with personal data removed.
func (o out) logger(level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	return telemetry.NewLogger(o.stderr, l)
}

func (o out) ready(v any) error {
	enc := json.NewEncoder(o.stdout)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print the ready line: %w", err)
	}
	return nil
}

// load reads the settings with the flags that were given.
func (c *cli) load(o out, flags map[string]string) (config.Config, error) {
	given := map[string]string{}
	for name, value := range flags {
		if value != "" {
			given[name] = value
		}
	}
	return config.Load(c.Config, o.environ, given)
}
