package home

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func open(t *testing.T, dir string) *Home {
	t.Helper()
	h, err := Open(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.lock.Close() })
	return h
}

func listen(t *testing.T, h *Home) net.Listener {
	t.Helper()
	ln, err := h.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func TestPortIsRememberedAcrossStarts(t *testing.T) {
	dir := t.TempDir()
	first := listen(t, open(t, dir+"/a"))
	addr := first.Addr().String()
	first.Close()

	again := listen(t, &Home{Dir: dir + "/a"})
	if got := again.Addr().String(); got != addr {
		t.Errorf("second start answers on %s, first on %s", got, addr)
	}
	other := listen(t, open(t, dir+"/b"))
	if other.Addr().String() == addr {
		t.Error("two directories share a port")
	}
}

func TestPortIsOutsideTheOutgoingRange(t *testing.T) {
	port := listen(t, open(t, t.TempDir())).Addr().(*net.TCPAddr).Port
	if port < lowestPort || port > highestPort {
		t.Errorf("picked port %d", port)
	}
}

func TestTakenPortIsAnErrorThatSaysWhatToDo(t *testing.T) {
	h := open(t, t.TempDir())
	listen(t, h)
	_, err := h.Listen(0)
	if err == nil || !strings.Contains(err.Error(), h.Path("port")) {
		t.Errorf("err = %v", err)
	}
}

func TestGarbagePortFileIsAnError(t *testing.T) {
	h := open(t, t.TempDir())
	if err := os.WriteFile(h.Path("port"), []byte("eighty"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ln, err := h.Listen(0); err == nil {
		t.Errorf("listens on %s", ln.Addr())
	}
}

func TestSecondHolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := Open(dir, 0)
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("err = %v", err)
	}
}

func TestWriteReplacesAndLeavesNothingBehind(t *testing.T) {
	h := open(t, t.TempDir())
	for _, text := range []string{"one", "two"} {
		if err := h.Write("kubeconfig", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := os.ReadFile(h.Path("kubeconfig"))
	info, _ := os.Stat(h.Path("kubeconfig"))
	if string(got) != "two" || info.Mode().Perm() != 0o600 {
		t.Errorf("holds %q with mode %v", got, info.Mode())
	}
	if left, _ := filepath.Glob(h.Path(".kubeconfig-*")); left != nil {
		t.Errorf("left %v", left)
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("I one\nE two\nI three\nE four\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	errorLine := func(l string) bool { return l[0] == 'E' }
	never := func(string) bool { return false }
	cases := map[string]struct {
		path string
		keep func(string) bool
		want []string
	}{
		"errors come first":                  {path, errorLine, []string{"E two", "E four"}},
		"without errors the end is shown":    {path, never, []string{"I three", "E four"}},
		"a log that is not there has no end": {path + "x", never, nil},
	}
	for name, c := range cases {
		if got := Tail(c.path, 2, c.keep); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q", name, got)
		}
	}
}
