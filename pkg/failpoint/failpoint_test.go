package failpoint_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/failpoint"
)

// build compiles testdata/hit: what a failpoint does to a process can only be
// seen on a process.
func build(t *testing.T, tags string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hit")
	out, err := exec.Command("go", "build", "-tags", tags, "-o", file, "./testdata/hit").CombinedOutput()
	if err != nil {
		t.Fatalf("build testdata/hit: %v\n%s", err, out)
	}
	return file
}

func TestWithTheTag(t *testing.T) {
	program := build(t, "failpoints")
	tests := map[string]struct {
		spec   string
		stdout string
		exit   int            // with signal 0
		signal syscall.Signal // 0: the process ended by itself
		stderr string
	}{
		"nothing asked, nothing done":              {stdout: "<nil>\n<nil>\n<nil>\n"},
		"another place is passed":                  {spec: "render=kill", stdout: "<nil>\n<nil>\n<nil>\n"},
		"an error is returned once":                {spec: "fetch=error", stdout: "failpoint fetch\n<nil>\n<nil>\n", stderr: "failpoint fetch: error\n"},
		"the count says which hit acts":            {spec: "fetch=error:2", stdout: "<nil>\nfailpoint fetch\n<nil>\n", stderr: "failpoint fetch: error\n"},
		"kill ends the process at once":            {spec: "fetch=kill:2", stdout: "<nil>\n", signal: syscall.SIGKILL, stderr: "failpoint fetch: kill\n"},
		"an unknown place ends the process":        {spec: "fecth=kill", exit: 2, stderr: `no point "fecth"`},
		"an unknown action ends the process":       {spec: "fetch=explode", exit: 2, stderr: `action "explode"`},
		"a count that is none ends the process":    {spec: "fetch=kill:0", exit: 2, stderr: `count "0"`},
		"a specification without an action is one": {spec: "fetch", exit: 2, stderr: `action ""`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run(t.Context(), program, "PLUMB_FAILPOINT="+tt.spec)
			exit, signal := status(t, err)
			if stdout != tt.stdout || exit != tt.exit || signal != tt.signal || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("stdout %q, exit %d, signal %v, stderr %q", stdout, exit, signal, stderr)
			}
		})
	}
}

func TestHoldWaitsForTheReleaseFile(t *testing.T) {
	dir := t.TempDir()
	release, reached := filepath.Join(dir, "release"), filepath.Join(dir, "reached")
	cmd := exec.CommandContext(t.Context(), build(t, "failpoints"), "1")
	cmd.Env = append(os.Environ(), "PLUMB_FAILPOINT=fetch=hold",
		"PLUMB_FAILPOINT_RELEASE="+release, "PLUMB_FAILPOINT_REACHED="+reached)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stdout strings.Builder
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stderr).ReadString('\n'); line != "failpoint fetch: hold\n" {
		t.Errorf("stderr %q, %v", line, err)
	}
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || stdout.String() != "<nil> released\n" {
		t.Errorf("after the release: %v, stdout %q", err, stdout.String())
	}
	if mark, err := os.ReadFile(reached); string(mark) != "fetch" {
		t.Errorf("the file that tells of the hit holds %q, %v", mark, err)
	}
}

func TestWithoutTheTagNothingHappens(t *testing.T) {
	stdout, _, err := run(t.Context(), build(t, "other"), "PLUMB_FAILPOINT=fetch=kill")
	if err != nil || stdout != "<nil>\n<nil>\n<nil>\n" {
		t.Errorf("%v, stdout %q", err, stdout)
	}
}

func TestNamesAreDistinct(t *testing.T) {
	seen := map[failpoint.Point]bool{}
	for _, p := range failpoint.All() {
		if seen[p] {
			t.Errorf("%s twice", p)
		}
		seen[p] = true
	}
}

func run(ctx context.Context, program string, env ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, program, "3")
	cmd.Env = append(os.Environ(), env...)
	var out, diagnostics strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	err = cmd.Run()
	return out.String(), diagnostics.String(), err
}

func status(t *testing.T, err error) (exit int, signal syscall.Signal) {
	t.Helper()
	var ended *exec.ExitError
	switch {
	case err == nil:
		return 0, 0
	case !errors.As(err, &ended):
		t.Fatal(err)
	}
	s := ended.Sys().(syscall.WaitStatus)
	if s.Signaled() {
		return 0, s.Signal()
	}
	return s.ExitStatus(), 0
}
