package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/helm"
	"github.com/plumb-gitops/plumb/pkg/render/kustomize"
)

// parentVariable makes the test binary a parent that is killed in the middle.
const parentVariable = "PLUMB_TEST_RENDER_PARENT"

func TestMain(m *testing.M) {
	switch {
	case Main():
	case os.Getenv(parentVariable) != "":
		beParent()
	default:
		os.Exit(m.Run())
	}
}

var tree = fstest.MapFS{
	"kustomization.yaml":   {Data: []byte("resources: [a.yaml]\n")},
	"a.yaml":               {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")},
	"c/Chart.yaml":         {Data: []byte("apiVersion: v2\nname: c\nversion: 1.0.0\n")},
	"c/templates/a.yaml":   {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")},
	"hog/Chart.yaml":       {Data: []byte("apiVersion: v2\nname: c\nversion: 1.0.0\n")},
	"hog/templates/a.yaml": {Data: []byte("{{ range until 2000000000 }}x{{ end }}")},
}

var (
	good = Job{Kustomize: &kustomize.Params{Path: "."}}
	hog  = Job{Helm: &helm.Params{Path: "hog", ReleaseName: "a"}}
)

func newPool(t *testing.T, o Options) *Pool {
	t.Helper()
	p := NewPool(o)
	t.Cleanup(p.Close)
	return p
}

func render(t *testing.T, p *Pool) {
	t.Helper()
	items, err := p.Render(t.Context(), good, tree, Origin{})
	if err != nil || len(items) != 1 {
		t.Fatalf("got %d objects and error %v, want one object", len(items), err)
	}
}

// only returns the process id of the only child, an idle one.
func only(t *testing.T, p *Pool) *process {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) != 1 || len(p.all) != 1 {
		t.Fatalf("%d children, %d of them idle, want one", len(p.all), len(p.idle))
	}
	return p.idle[0]
}

func TestChildServesAgainWhileItsRendersSucceed(t *testing.T) {
	p := newPool(t, Options{Renders: 3})
	render(t, p)
	first := only(t, p)
	render(t, p)
	render(t, p)
	if first.renders != 3 || first.alive() {
		t.Errorf("the child has rendered %d times and is alive: %t, want gone after 3", first.renders, first.alive())
	}
	render(t, p)
	waitFor(t, "a spare child", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.idle) == 1 && p.idle[0] != first
	})
}

func TestChildOfAFailedRenderIsReplaced(t *testing.T) {
	p := newPool(t, Options{})
	render(t, p)
	first := only(t, p)
	if _, err := p.Render(t.Context(), Job{Kustomize: &kustomize.Params{Path: "nowhere"}}, tree, Origin{}); err == nil {
		t.Fatal("want an error")
	}
	if first.alive() {
		t.Error("the child of a failed render is still there")
	}
	render(t, p)
}

func TestIdleChildThatDiedCostsNoRender(t *testing.T) {
	p := newPool(t, Options{})
	render(t, p)
	c := only(t, p)
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-c.exited
	render(t, p)
}

func TestCloseEndsChildrenAtWork(t *testing.T) {
	p := newPool(t, Options{})
	slow := blocking{MapFS: tree, asked: make(chan struct{}, 100), answer: make(chan struct{})}
	ended := make(chan error, 1)
	go func() {
		_, err := p.Render(context.Background(), good, slow, Origin{})
		ended <- err
	}()
	<-slow.asked
	p.Close()
	close(slow.answer)
	if err := <-ended; err == nil {
		t.Error("a render outlived its pool")
	}
	if _, err := p.Render(t.Context(), good, tree, Origin{}); !errors.Is(err, errClosed) {
		t.Errorf("error is %v, want %v", err, errClosed)
	}
}

// blocking is a tree that tells of a question and answers when it may.
type blocking struct {
	fstest.MapFS
	asked, answer chan struct{}
}

func (b blocking) Stat(name string) (fs.FileInfo, error) {
	b.asked <- struct{}{}
	<-b.answer
	return b.MapFS.Stat(name)
}

func TestMemoryHogIsKilledAndTheNextRenderWorks(t *testing.T) {
	p := newPool(t, Options{Memory: 256 << 20})
	render(t, p)
	_, err := p.Render(t.Context(), hog, tree, Origin{})
	if class, _ := fault.ClassOf(err); err == nil || class != fault.Transient || !strings.Contains(err.Error(), "more than 256 MiB of memory") {
		t.Errorf("error is %v (%s)", err, class)
	}
	render(t, p)
}

func TestClocksEndARender(t *testing.T) {
	files := fstest.MapFS{
		"slow/Chart.yaml":       tree["c/Chart.yaml"],
		"slow/templates/a.yaml": {Data: []byte("{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}")},
	}
	cases := map[string]struct {
		options Options
		want    string
	}{
		"that of the wall": {Options{Timeout: 100 * time.Millisecond}, "it took longer than 100ms"},
		"that of the CPU":  {Options{Timeout: 5 * time.Minute, CPU: time.Second}, "it needed more than 1s of CPU time"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job := Job{Helm: &helm.Params{Path: "slow", ReleaseName: "a"}}
			_, err := newPool(t, c.options).Render(t.Context(), job, files, Origin{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestResultBeyondTheLimitIsRefused(t *testing.T) {
	cases := map[string]struct {
		options Options
		want    string
	}{
		"in bytes":   {Options{MaxBytes: 20}, "the render gives more than 20 bytes"},
		"in objects": {Options{MaxObjects: 1}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := newPool(t, c.options).Render(t.Context(), good, tree, Origin{})
			if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}

func TestDeathNote(t *testing.T) {
	cases := map[string]struct{ words, want string }{
		"out of memory":   {"fatal error: runtime: out of memory\n", "it needed more than 1 MiB of memory"},
		"no stack":        {"runtime: goroutine stack exceeds 67108864-byte limit\nfatal error: stack overflow", "it recursed too deeply"},
		"no thread":       {"runtime/cgo: pthread_create failed: Resource temporarily unavailable\nSIGABRT: abort\nruntime: g 0 gp=0x1: unknown pc 0x7f\n", "it needed more than 1 MiB of memory"},
		"no CPU time":     {"fatal error: SIGXCPU\n", "it needed more than 1s of CPU time"},
		"something else":  {"noise\nfatal error: all goroutines are asleep\x1b[31m\n", "fatal error: all goroutines are asleep"},
		"nothing":         {"", "it was killed, perhaps by the kernel"},
		"a secret, maybe": {"panic: hunter2", "it was killed, perhaps by the kernel"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := &process{o: Options{Memory: 1 << 20, CPU: time.Second}, words: &lastWords{}}
			fmt.Fprint(p.words, c.words)
			got := p.death().Error()
			if !strings.Contains(got, c.want) || strings.Contains(got, "hunter2") || strings.Contains(got, "\x1b") {
				t.Errorf("got %q, want %q in it", got, c.want)
			}
		})
	}
}

func TestLastWordsAreBounded(t *testing.T) {
	var w lastWords
	for range 100 {
		if n, err := w.Write(bytes.Repeat([]byte("a"), 1000)); n != 1000 || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	if n := len(w.String()); n != 4<<10 {
		t.Errorf("kept %d bytes", n)
	}
}

func TestPoisonForgetsTheOldest(t *testing.T) {
	var p poison
	died := &deathError{"test"}
	_ = p.add("first", died)
	_ = p.add("first", died)
	for i := range maxPoisoned - 1 {
		_ = p.add(strconv.Itoa(i), died)
	}
	if p.check("first") == nil {
		t.Error("forgotten too early")
	}
	_ = p.add("one more", died)
	if err := p.check("first"); err != nil || len(p.deaths) != maxPoisoned {
		t.Errorf("%d remembered, error %v", len(p.deaths), err)
	}
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s in 20 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// beParent starts a child, tells its process id and waits to be killed.
func beParent() {
	p := NewPool(Options{})
	if _, err := p.Render(context.Background(), good, tree, Origin{}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.idle[0].cmd.Process.Pid)
	select {}
}

func TestChildDiesWithItsParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentVariable+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("child %d: %v", pid, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	waitFor(t, "end of the child", func() bool { return !running(pid) })
}

// running is false for a process that is gone or waits to be reaped.
func running(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !bytes.Contains(status, []byte("State:\tZ"))
}

func FuzzReadFrame(f *testing.F) {
	var good bytes.Buffer
	if err := writeFrame(&good, header{Kind: kindDone, Clean: true}, []byte("[]")); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add([]byte{0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, '{', '}'})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		_, body, err := readFrame(bytes.NewReader(data), 1024)
		if err == nil && len(body) > 1024 {
			t.Errorf("%d bytes", len(body))
		}
	})
}
