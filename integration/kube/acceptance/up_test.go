package acceptance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWorkloadsLive(t *testing.T) {
	c, _ := up(t, t.TempDir()).client(t)
	makeNamespace(t, c)
	makeDeployment(t, c, "web", "example.com/web:1")
	makeDeployment(t, c, "absent", "example.com/web:missing-1")
	makeDeployment(t, c, "dying", "example.com/crash:1")
	makeJob(t, c, "good", "example.com/migrate:1")
	makeJob(t, c, "bad", "example.com/migrate:1-crash")
	makeClaim(t, c)
	podsReady(t, c, "web")
	podsWait(t, c, "absent", "ImagePullBackOff")
	podsWait(t, c, "dying", "CrashLoopBackOff")
	jobEnds(t, c, "good", batchv1.JobComplete)
	jobEnds(t, c, "bad", batchv1.JobFailed)
	claimBinds(t, c)
	namespaceGoes(t, c)
}

func TestRestartAfterKillKeepsAddressAndData(t *testing.T) {
	dir := t.TempDir()
	first := up(t, dir)
	c, address := first.client(t)
	makeNamespace(t, c)
	makeDeployment(t, c, "before", "example.com/web:1")
	podsReady(t, c, "before")
	first.signal(t, syscall.SIGKILL)

	second := up(t, dir)
	// The old client, certificates and all, must go on.
	podsReady(t, c, "before")
	makeDeployment(t, c, "after", "example.com/web:1")
	podsReady(t, c, "after")
	if _, again := second.client(t); again != address {
		t.Errorf("moved from %s to %s", address, again)
	}
}

func TestSignalEndsItAtOnce(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		i := up(t, t.TempDir())
		c, _ := i.client(t)
		watch, err := c.CoreV1().Pods("").Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		took, code := i.signal(t, s)
		watch.Stop()
		if took > time.Second || code != 0 {
			t.Errorf("%v: exit code %d after %v", s, code, took)
		}
	}
}

func TestTwoInstancesDoNotMeet(t *testing.T) {
	a, b := up(t, t.TempDir()), up(t, t.TempDir())
	ca, addressA := a.client(t)
	cb, addressB := b.client(t)
	if addressA == addressB {
		t.Fatalf("both on %s", addressA)
	}
	makeNamespace(t, ca)
	if _, err := cb.CoreV1().Namespaces().Get(t.Context(), namespace, read); err == nil {
		t.Error("one sees the other's namespace")
	}
}

func TestDirectoryInUseIsRefused(t *testing.T) {
	i := up(t, t.TempDir())
	out, err := exec.Command(binary(t), "up", "--dir", i.dir).CombinedOutput()
	want := fmt.Sprintf("in use by process %d", i.cmd.Process.Pid)
	if err == nil || !strings.Contains(string(out), want) {
		t.Errorf("second start: %v, %q", err, out)
	}
}

func TestFailureShowsTheLog(t *testing.T) {
	dir := t.TempDir()
	// A file where etcd wants its directory.
	if err := os.WriteFile(filepath.Join(dir, "etcd"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary(t), "up", "--dir", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "etcd: ") || !strings.Contains(string(out), "etcd.log") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestOnlyLoopbackListens(t *testing.T) {
	i := up(t, t.TempDir())
	listening := 0
	for _, address := range tcpListeners(t, i.cmd.Process.Pid) {
		listening++
		if !address.IP.IsLoopback() {
			t.Errorf("listens on %v", address)
		}
	}
	if listening != 1 {
		t.Errorf("%d TCP listeners, want the API server's alone", listening)
	}
}

func TestNoChildren(t *testing.T) {
	i := up(t, t.TempDir())
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", i.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if len(children) != 0 {
		t.Errorf("children: %s", children)
	}
}

func TestTokensAndRolesAreReal(t *testing.T) {
	i := up(t, t.TempDir())
	c, _ := i.client(t)
	token, err := c.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "default", &authv1.TokenRequest{}, create)
	if err != nil {
		t.Fatal(err)
	}
	review, err := c.AuthenticationV1().TokenReviews().Create(t.Context(),
		&authv1.TokenReview{Spec: authv1.TokenReviewSpec{Token: token.Status.Token}}, create)
	if err != nil || !review.Status.Authenticated {
		t.Fatalf("review: %v, %+v", err, review.Status)
	}
	ask := &authzv1.SubjectAccessReview{Spec: authzv1.SubjectAccessReviewSpec{
		User:               review.Status.User.Username,
		Groups:             review.Status.User.Groups,
		ResourceAttributes: &authzv1.ResourceAttributes{Verb: "list", Resource: "secrets"},
	}}
	answer, err := c.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), ask, create)
	if err != nil || answer.Status.Allowed {
		t.Errorf("a service account without a role may list secrets (%v)", err)
	}
}

func TestManagersAndAgentsTellThePartsApart(t *testing.T) {
	i := up(t, t.TempDir(), "--audit")
	c, _ := i.client(t)
	makeNamespace(t, c)
	makeDeployment(t, c, "web", "example.com/web:1")
	podsReady(t, c, "web")

	d, err := c.AppsV1().Deployments(namespace).Get(t.Context(), "web", read)
	if err != nil {
		t.Fatal(err)
	}
	managers := map[string]bool{}
	for _, m := range d.ManagedFields {
		managers[m.Manager] = true
	}
	if !managers["acceptance"] || !managers["kube-controller-manager"] || len(managers) != 2 {
		t.Errorf("field managers %v", managers)
	}
	agents := auditAgents(t, filepath.Join(i.dir, "audit.log"))
	for _, part := range []string{"acceptance", "kube-controller-manager", "kube-scheduler", "kwok", "kube-apiserver", "plumb-kube"} {
		if agents[part] == 0 {
			t.Errorf("no request of %s in %v", part, agents)
		}
	}
	if len(agents) != 6 {
		t.Errorf("agents %v", agents)
	}
}

// auditAgents counts requests by the first word of the user agent.
func auditAgents(t *testing.T, path string) map[string]int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	agents := map[string]int{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct{ UserAgent, Stage string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			t.Fatalf("%v in %q", err, lines.Text())
		}
		if event.Stage == "RequestReceived" {
			t.Errorf("logged a request before its answer: %s", lines.Text())
		}
		name, _, _ := strings.Cut(event.UserAgent, "/")
		agents[name]++
	}
	return agents
}

// tcpListeners finds the listening sockets of a process.
func tcpListeners(t *testing.T, pid int) []net.TCPAddr {
	t.Helper()
	own := map[string]bool{}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil {
			own[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
		}
	}
	var found []net.TCPAddr
	for _, family := range []string{"tcp", "tcp6"} {
		table, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, family))
		for _, line := range strings.Split(string(table), "\n") {
			const state, inode, listen = 3, 9, "0A"
			f := strings.Fields(line)
			if len(f) > inode && f[state] == listen && own[f[inode]] {
				found = append(found, parseAddress(f[1]))
			}
		}
	}
	return found
}

// parseAddress reads the hexadecimal host:port of /proc/net/tcp, whose words are little-endian.
func parseAddress(text string) net.TCPAddr {
	host, port, _ := strings.Cut(text, ":")
	var a net.TCPAddr
	_, _ = fmt.Sscanf(port, "%x", &a.Port)
	for word := 0; word+8 <= len(host); word += 8 {
		for b := 6; b >= 0; b -= 2 {
			var v byte
			_, _ = fmt.Sscanf(host[word+b:word+b+2], "%x", &v)
			a.IP = append(a.IP, v)
		}
	}
	return a
}
