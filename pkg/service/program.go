package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
)

// Program is one service as a value: what it reads and how it is built.
type Program struct {
	Name string
	// Sections of the configuration whose files must be there, beside nats.
	Sections []string
	// OwnNATS says that the program brings a server when nats.url is empty.
	OwnNATS bool
	// Build makes the parts. What it opened it adds to Built.Close, also when it
	// returns an error.
	Build func(ctx context.Context, env Env) (Built, error)
}

// Env is what every program gets.
type Env struct {
	Config  config.Config
	Log     *slog.Logger
	Metrics *prometheus.Registry
}

// Built is what Build made.
type Built struct {
	Parts  []Part
	Checks []Check  // of /readyz
	Close  []func() // called last first, after all parts have ended
}

// Options are what the command line says.
type Options struct {
	ConfigFile string
	LogFormat  string // text or json
	LogLevel   string // debug, info, warn or error
}

// Main runs a service's binary: flags, configuration, parts. It returns the
// exit code: 0 after a signal, 1 when it failed, 2 when it was called wrongly.
func Main(p Program, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	var o Options
	flags.StringVar(&o.ConfigFile, "config", "", "configuration `file`")
	flags.StringVar(&o.LogFormat, "log-format", "json", "`format` of log lines: json or text")
	flags.StringVar(&o.LogLevel, "log-level", "info", "lowest `level` that is logged: debug, info, warn or error")
	version := flags.Bool("version", false, "print the version")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case *version:
		fmt.Fprintln(stdout, p.Name, Version())
		return 0
	case o.ConfigFile == "" || flags.NArg() > 0:
		fmt.Fprintf(stderr, "usage: %s --config FILE\n", p.Name)
		return 2
	}
	if err := p.Start(context.Background(), o, getenv, stderr); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return 1
	}
	return 0
}

// Start runs the program until SIGINT, SIGTERM or the end of ctx; a second
// signal kills it at once. Log lines go to out.
func (p Program) Start(ctx context.Context, o Options, getenv func(string) string, out io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	log, err := telemetry.Logger(out, o.LogFormat, o.LogLevel)
	if err != nil {
		return err
	}
	log = log.With("service", p.Name)
	c, err := config.Load(o.ConfigFile, append([]string{"nats"}, p.Sections...)...)
	if err != nil {
		return err
	}
	if c.NATS.URL == "" && !p.OwnNATS {
		return fmt.Errorf("%s: nats.url: is empty; name the NATS server, only plumb up brings its own", o.ConfigFile)
	}
	endTraces, err := telemetry.Tracing(ctx, "plumb-"+p.Name, Version(), getenv, log)
	if err != nil {
		return err
	}
	defer endTraces()
	return p.run(ctx, Env{Config: c, Log: log, Metrics: telemetry.Metrics()})
}

func (p Program) run(ctx context.Context, env Env) error {
	admin, err := Listen("admin.listen", env.Config.Admin.Listen)
	if err != nil {
		return err
	}
	defer admin.Close()
	built, err := p.Build(ctx, env)
	defer built.close()
	if err != nil {
		return err
	}
	env.Log.Info("started", "version", Version(), "cluster", env.Config.Cluster, "admin", admin.Addr().String())
	defer env.Log.Info("ended")
	parts := append(built.Parts, HTTP("admin", admin, Admin(env.Metrics, env.Config.Admin.Profiles, built.Checks...), env.Log),
		Part{Name: "memory", Run: newRest().run})
	return Run(ctx, env.Log, ShutdownLimit, parts...)
}

func (b Built) close() {
	for _, c := range slices.Backward(b.Close) {
		c()
	}
}

// version is set by the linker; see Makefile.
var version string

// Version is that of the build: a tag or commit, and Go's.
func Version() string {
	v := version
	if info, ok := debug.ReadBuildInfo(); ok && v == "" {
		v = info.Main.Version
	}
	if v == "" {
		v = "unknown"
	}
	return v + " " + runtime.Version()
}
