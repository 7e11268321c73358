package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/plumb-gitops/plumb/integration/kube/internal/home"
	"github.com/plumb-gitops/plumb/integration/kube/internal/plane"
)

// tailLines of a log are shown when a part fails.
const tailLines = 15

// endOnSignal ends the process at once. The graceful stop of an API server waits for every open watch, which
// takes minutes, and there is nothing to be graceful about: a restart after SIGKILL has to work anyway.
func endOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		os.Exit(0)
	}()
}

// settle makes the process live in its directory, and returns the standard output and error for our own words.
// The components write to os.Stderr as they like; from here on that is a log.
func settle(h *home.Home) (stdout, stderr *os.File, err error) {
	log, err := h.Log(plane.KubeLog)
	if err != nil {
		return nil, nil, fmt.Errorf("open log: %w", err)
	}
	stdout, stderr = os.Stdout, os.Stderr
	os.Stdout, os.Stderr = log, log
	// A crash goes to the real standard error as ever, and to the log too.
	if err := debug.SetCrashOutput(log, debug.CrashOptions{}); err != nil {
		return nil, nil, fmt.Errorf("direct crash output: %w", err)
	}
	klog.OsExit = func(code int) {
		report(stderr, h, &plane.Failure{Part: "control plane", Log: plane.KubeLog, Err: errors.New("fatal error")})
		os.Exit(code)
	}
	// Deprecation warnings are for people who write manifests, not for components that read them.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	return stdout, stderr, os.Chdir(h.Dir)
}

// report says what went wrong, and shows the lines of the log that tell why.
func report(w *os.File, h *home.Home, err error) {
	fmt.Fprintln(w, "plumb-kube:", err)
	var f *plane.Failure
	if !errors.As(err, &f) {
		return
	}
	lines := home.Tail(h.Path(f.Log), tailLines, isError)
	fmt.Fprintf(w, "The end of %s:\n  %s\n", h.Path(f.Log), strings.Join(lines, "\n  "))
}

// isError knows the lines of klog (E1123 05:01:02 ...), of zap ({"level":"error", ...) and of kwok (level=ERROR).
func isError(line string) bool {
	if len(line) > 5 && (line[0] == 'E' || line[0] == 'F') && strings.Trim(line[1:5], "0123456789") == "" {
		return true
	}
	for _, mark := range []string{`"level":"error"`, `"level":"fatal"`, `"level":"panic"`, "level=ERROR", `"level":"ERROR"`} {
		if strings.Contains(line, mark) {
			return true
		}
	}
	return false
}
