package child

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func proc(t *testing.T, c *process, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.cmd.Process.Pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestChildIsConfined looks at a child from outside, after its first render.
func TestChildIsConfined(t *testing.T) {
	t.Setenv("PLUMB_SECRET", "hunter2")
	inherited, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	p := newPool(t, Options{Memory: 300 << 20})
	render(t, p)
	c := only(t, p)
	if environment := proc(t, c, "environ"); environment != "" {
		t.Errorf("the environment is %q, want none", environment)
	}
	limits := proc(t, c, "limits")
	for _, want := range []string{`Max open files +0 +0 `, `Max core file size +0 +0 `, `Max cpu time +\d+ `} {
		if !regexp.MustCompile(want).MatchString(limits) {
			t.Errorf("no limit %q in:\n%s", want, limits)
		}
	}
	if limitsData && !strings.Contains(limits, fmt.Sprint(300<<20)) {
		t.Errorf("no memory limit in:\n%s", limits)
	}
	if !strings.Contains(proc(t, c, "status"), "NoNewPrivs:\t1") {
		t.Error("the child may get new privileges")
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		target, err := os.Readlink(file)
		own := strings.HasPrefix(target, "pipe:") && len(filepath.Base(file)) == 1 && filepath.Base(file) < "3" ||
			strings.HasPrefix(target, "anon_inode:") || strings.HasPrefix(target, "/sys/fs/cgroup/")
		if err == nil && !own {
			t.Errorf("file %s is open in the child: %s", filepath.Base(file), target)
		}
	}
}
