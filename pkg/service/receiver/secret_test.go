package receiver_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/service/receiver"
)

// rotation is a receiver of one Docker Hub hook, whose requests show the
// secret as it is.
type rotation struct {
	t    *testing.T
	path string
	r    *receiver.Receiver
	log  logBook
	now  time.Time
}

func newRotation(t *testing.T, lines string) *rotation {
	ro := &rotation{t: t, path: secretFile(t, lines), now: time.Now().Add(time.Hour)}
	ro.r = build(t, config.Receiver{Hooks: []config.Hook{{Name: "h", Provider: "dockerhub", SecretFile: ro.path}}}, &recorder{},
		receiver.Options{Log: ro.log.logger(), Now: func() time.Time { return ro.now }})
	return ro
}

func (ro *rotation) takes(secret string) bool {
	q := httptest.NewRequest(http.MethodPost, "/hooks/h", strings.NewReader(`{"push_data": {"tag": "a"}, "repository": {"repo_name": "a/b"}}`))
	q.URL.Path += "/" + secret
	q.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	ro.r.ServeHTTP(w, q)
	return w.Code == http.StatusAccepted
}

func (ro *rotation) write(lines string) {
	ro.t.Helper()
	if err := os.WriteFile(ro.path, []byte(lines), 0o600); err != nil {
		ro.t.Fatal(err)
	}
}

func (ro *rotation) want(secrets map[string]bool) {
	ro.t.Helper()
	for secret, want := range secrets {
		if got := ro.takes(secret); got != want {
			ro.t.Errorf("secret %q is taken: %t, want %t", secret, got, want)
		}
	}
}

func TestSecretsRotate(t *testing.T) {
	ro := newRotation(t, "old")
	ro.want(map[string]bool{"old": true, "new": false, "": false})
	ro.write("new\r\n  old  \n\n")
	ro.want(map[string]bool{"new": true, "old": true, "": false, "new\r": false, "  old  ": false})
	ro.write("new\n")
	ro.want(map[string]bool{"new": true, "old": false})
}

// The very first request after a second secret was added is judged by it too.
func TestANewSecretCountsAtOnce(t *testing.T) {
	ro := newRotation(t, "old")
	ro.write("old\nnew")
	if !ro.takes("new") {
		t.Error("the first request with the new secret was refused")
	}
}

// Kubernetes mounts a Secret through a link and swaps the link.
func TestSecretsRotateByLink(t *testing.T) {
	ro := newRotation(t, "one")
	link := ro.path + "-link"
	if err := os.Symlink(ro.path, link); err != nil {
		t.Fatal(err)
	}
	linked := &rotation{t: t, now: ro.now}
	linked.r = build(t, config.Receiver{Hooks: []config.Hook{{Name: "h", Provider: "dockerhub", SecretFile: link}}}, &recorder{}, receiver.Options{Now: func() time.Time { return linked.now }})
	linked.want(map[string]bool{"one": true})
	other := secretFile(t, "two")
	info, err := os.Stat(ro.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(other, info.ModTime(), info.ModTime()); err != nil { // same size, same time, another file
		t.Fatal(err)
	}
	if err := os.Symlink(other, link+"-next"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+"-next", link); err != nil {
		t.Fatal(err)
	}
	linked.want(map[string]bool{"two": true, "one": false})
}

// Two writes within one tick of the file system's clock leave the same time.
func TestAChangeWithinATickIsSeen(t *testing.T) {
	ro := newRotation(t, "one")
	info, err := os.Stat(ro.path)
	if err != nil {
		t.Fatal(err)
	}
	ro.now = info.ModTime() // the receiver read it right after it was written
	again := &rotation{t: t, path: ro.path, now: ro.now}
	again.r = build(t, config.Receiver{Hooks: []config.Hook{{Name: "h", Provider: "dockerhub", SecretFile: ro.path}}}, &recorder{}, receiver.Options{Now: func() time.Time { return again.now }})
	again.write("two")
	if err := os.Chtimes(ro.path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	again.want(map[string]bool{"two": true, "one": false})
}

func TestAnUnreadableSecretFileKeepsTheLastGood(t *testing.T) {
	ro := newRotation(t, "good-one")
	if err := os.Remove(ro.path); err != nil {
		t.Fatal(err)
	}
	ro.want(map[string]bool{"good-one": true, "": false})
	ro.want(map[string]bool{"good-one": true})
	if n := strings.Count(ro.log.String(), "secret file of a hook is unusable"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, ro.log.String())
	}
	if strings.Contains(ro.log.String(), "good-one") {
		t.Error("the log holds the secret")
	}
	ro.write("newer")
	ro.want(map[string]bool{"newer": true, "good-one": false})
	ro.write(strings.Repeat("x", 70<<10))
	ro.want(map[string]bool{"newer": true})
}

func TestAnEmptiedSecretFileWithdrawsTheSecrets(t *testing.T) {
	ro := newRotation(t, "good-one")
	ro.write("\n \n")
	ro.want(map[string]bool{"good-one": false, "": false, " ": false})
	if !strings.Contains(ro.log.String(), "it holds no secret") {
		t.Errorf("log %s", ro.log.String())
	}
	ro.write("back")
	ro.want(map[string]bool{"back": true})
}
