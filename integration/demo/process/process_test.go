package process_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/integration/demo/process"
)

func shell(t *testing.T, script string) *process.Process {
	t.Helper()
	p, err := process.Start(process.Command{
		Name: "shell", Program: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "log"), Ready: "ready",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(0) })
	return p
}

func TestAProgramIsReadyWhenItSaysSo(t *testing.T) {
	p := shell(t, "echo not ready; echo ready; exec sleep 60")
	select {
	case <-p.Ready():
	case <-p.Ended():
		t.Fatal(p.Failure())
	}
	p.Stop(time.Minute)
	if err := p.Failure(); !strings.Contains(err.Error(), "terminated") {
		t.Errorf("it did not end by SIGTERM: %v", err)
	}
}

func TestAProgramThatIgnoresTheRequestIsKilled(t *testing.T) {
	p := shell(t, `trap "" TERM; echo ready; while :; do sleep 1; done`)
	<-p.Ready()
	p.Stop(10 * time.Millisecond)
	if err := p.Failure(); !strings.Contains(err.Error(), "killed") {
		t.Errorf("it was not killed: %v", err)
	}
}

func TestAFailureShowsTheEndOfTheLog(t *testing.T) {
	p := shell(t, `i=0; while [ $i -lt 30 ]; do echo "line $i"; i=$((i+1)); done; echo "no space" >&2; exit 3`)
	text := p.Failure().Error()
	for _, want := range []string{"shell ended: exit status 3", "  line 29", "  no space"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "line 18\n") {
		t.Errorf("the whole log is shown:\n%s", text)
	}
}

func TestTailOfNothing(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := process.Tail(empty, 3); got != "  (it said nothing)" {
		t.Errorf("got %q", got)
	}
}

func TestAProgramThatIsNotThereIsAnError(t *testing.T) {
	_, err := process.Start(process.Command{Name: "nothing", Program: "/nowhere", Log: filepath.Join(t.TempDir(), "log")})
	if err == nil || !strings.Contains(err.Error(), "start nothing: ") {
		t.Errorf("error is %v", err)
	}
}
