package pipeline

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/config"
)

// hang is the URL of a server that takes requests and does not answer until ctx ends.
func hang(ctx context.Context, t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-ctx.Done():
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// sshDoor serves git upload-pack to who has the authorized key. It returns host:port
// and its line of known_hosts.
func sshDoor(t *testing.T, authorized string) (addr, known string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	host, err := ssh.NewSignerFromKey(key)
	must(t, err)
	c := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(ssh.MarshalAuthorizedKey(key)) != authorized {
			return nil, io.EOF
		}
		return nil, nil
	}}
	c.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serveSSH(conn, c)
		}
	}()
	addr = listener.Addr().String()
	return addr, knownhosts.Line([]string{addr}, host.PublicKey()) + "\n"
}

func serveSSH(conn net.Conn, c *ssh.ServerConfig) {
	defer func() { _ = conn.Close() }()
	_, channels, requests, err := ssh.NewServerConn(conn, c)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		if channel, asked, err := offered.Accept(); err == nil {
			go uploadPack(channel, asked)
		}
	}
}

func uploadPack(channel ssh.Channel, asked <-chan *ssh.Request) {
	defer func() { _ = channel.Close() }()
	for r := range asked {
		var run struct{ Command string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &run) != nil {
			_ = r.Reply(false, nil)
			continue
		}
		_ = r.Reply(true, nil)
		cmd := exec.Command("git", "upload-pack", strings.Trim(strings.TrimPrefix(run.Command, "git-upload-pack "), "'"))
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}
		cmd.Stdout = channel
		in, err := cmd.StdinPipe()
		if err != nil || cmd.Start() != nil {
			return
		}
		go func() {
			_, _ = io.Copy(in, channel)
			_ = in.Close()
		}()
		_ = cmd.Wait()
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(cmd.ProcessState.ExitCode())}))
		return
	}
}

// A key and the host's own key are what ssh takes; a host that nobody vouched for is
// not trusted.
func TestARepositoryOverSSH(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	_, private, public := sshIdentity(t)
	addr, known := sshDoor(t, public)
	repo := s.Repo(t, "acme/config", map[string]string{"web/cm.yaml": stack.ConfigMap("web", "one")})
	a := stack.Application(ns, "web", repo, "web")
	a.Spec.Source.Repo = "ssh://git@" + addr + repo.Bare
	a.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: "deploy-key"}
	secrets(t, s, ns, "deploy-key", map[string]any{"identity": string(private), "known_hosts": strings.Replace(known, addr[strings.LastIndex(addr, ":")+1:], "1", 1)})
	s.Create(t, a)
	tells(t, s.Failed(t, a.Key(), "SourceRefused"), "known_hosts")

	s.PatchObject(t, stack.Secrets, ns, "deploy-key", `{"stringData":{"known_hosts":`+quoted(t, known)+`}}`)
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"now"}}}`)
	s.Data(t, ns, "web", map[string]string{"value": "one"})
	s.Live(t, a.Key(), git(t, repo, "rev-parse", "HEAD"))
	sha := s.PushSilently(t, repo, map[string]string{"web/cm.yaml": stack.ConfigMap("web", "two")})
	s.AnnounceURL(t, a.Spec.Source.Repo, "delivery-ssh", "refs/heads/main", sha)
	s.Live(t, a.Key(), sha)
}

func quoted(t *testing.T, text string) string {
	t.Helper()
	raw, err := json.Marshal(text)
	must(t, err)
	return string(raw)
}

// A GitHub App is changed for a token, which is what Git is shown.
func TestARepositoryOfAGitHubApp(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	const token = "ghs_token-of-the-stand-in"
	var minted atomic.Int64
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v3/app/installations/34/access_tokens" || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		minted.Add(1)
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	}))
	t.Cleanup(api.Close)
	server, repo := guarded(t, gitserver.Options{Username: "x-access-token", Password: token}, "acme/config", map[string][]byte{"web/cm.yaml": []byte(stack.ConfigMap("web", "one"))})
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	secrets(t, s, ns, "app", map[string]any{
		"githubAppID": "12", "githubAppInstallationID": "34", "githubAppBaseURL": api.URL + "/api/v3",
		"githubAppPrivateKey": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	for _, name := range []string{"web", "again"} {
		a := stack.Application(ns, name, repo, "web")
		a.Spec.Destination.Namespace = s.Kube.Namespace(t)
		a.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: "app"}
		s.Create(t, a)
		s.Await(t, a.Key(), "live", stack.Ready)
	}
	if minted.Load() != 1 || server.Lists() == 0 {
		t.Errorf("%d tokens were asked for, want one for both", minted.Load())
	}
}

// guarded is a Git server of its own, with one repository.
func guarded(t *testing.T, o gitserver.Options, name string, files map[string][]byte) (*gitserver.Server, *gitserver.Repo) {
	t.Helper()
	server, err := gitserver.New(t.TempDir(), o)
	must(t, err)
	must(t, server.Start())
	t.Cleanup(func() { must(t, server.Stop()) })
	repo, err := server.Create(t.Context(), name)
	must(t, err)
	_, err = repo.CommitAndPush(t.Context(), "first", files)
	must(t, err)
	return server, repo
}

// Of the configured credentials that the namespace may use, that of the longest prefix
// is shown, and no other.
func TestTheLongestPrefixDecidesWhichCredentialIsShown(t *testing.T) {
	s := stack.Guarded(t)
	mine, other := s.Kube.Namespace(t), s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{"web/cm.yaml": stack.ConfigMap("web", "one")})
	dir := t.TempDir()
	place := func(name, text string) string {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600))
		return filepath.Join(dir, name)
	}
	root := strings.TrimSuffix(repo.URL(), "acme/config.git")
	wrong := config.Credential{Prefix: root, UsernameFile: place("user", stack.GitUser), PasswordFile: place("wrong", "the-wrong-password"), Namespaces: []string{"*"}}
	right := config.Credential{Prefix: root + "acme", UsernameFile: wrong.UsernameFile, PasswordFile: place("right", stack.GitPassword), Namespaces: []string{mine}}
	s.Work(t, func(c *config.Config) { c.Git.Credentials = []config.Credential{wrong, right} })
	good, bad := stack.Application(mine, "web", repo, "web"), stack.Application(other, "web", repo, "web")
	s.Create(t, good)
	s.Create(t, bad)
	s.Await(t, good.Key(), "live", stack.Ready)
	refused := s.Failed(t, bad.Key(), "FetchFailed")
	tells(t, refused, "refuses the user name and password (401)", "git.credentials")

	// The same commit in the store is nobody's who may not fetch it.
	sha := s.Push(t, repo, map[string]string{"web/cm.yaml": stack.ConfigMap("web", "two")})
	s.Live(t, good.Key(), sha)
	if owned := s.Owned(t, bad.Key(), other); len(owned) != 0 || s.Get(t, bad.Key()).Status.Revision != "" {
		t.Errorf("the other namespace has %v", owned)
	}
	for _, text := range []string{string(s.WholeLog(t)), stack.Condition(refused, "Ready").Message} {
		if strings.Contains(text, stack.GitPassword) || strings.Contains(text, "the-wrong-password") {
			t.Error("a password was told")
		}
	}
}

// A redirect to another host is an error, and what it leads to never sees a credential.
func TestARedirectTakesNoCredentialAlong(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	var shown, followed atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		followed.Store(true)
		shown.Store(shown.Load() || r.Header.Get("Authorization") != "")
	}))
	t.Cleanup(elsewhere.Close)
	moved := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+r.URL.RequestURI(), http.StatusMovedPermanently)
	}))
	t.Cleanup(moved.Close)
	secrets(t, s, ns, "login", map[string]any{"username": "me", "password": "hunter2-of-the-test"})
	source := func(name string) *v1alpha1.Application {
		a := &v1alpha1.Application{}
		a.APIVersion, a.Kind, a.Namespace, a.Name = v1alpha1.Group+"/"+v1alpha1.Version, "Application", ns, name
		a.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: "login"}
		return a
	}
	fromGit, chart := source("git"), source("chart")
	fromGit.Spec.Source.Repo = moved.URL + "/acme/config.git"
	repo := s.Repo(t, "acme/config", map[string]string{"values.yaml": "a: b\n"})
	chart.Spec.Source = v1alpha1.Source{Repo: repo.URL(), Ref: "main", Helm: &v1alpha1.HelmSource{
		Chart: "web", Repo: moved.URL, Version: "1.0.0", SecretRef: &v1alpha1.LocalReference{Name: "login"},
	}}
	s.Create(t, fromGit)
	s.Create(t, chart)
	tells(t, s.Failed(t, fromGit.Key(), "SourceRefused"), "redirects to "+elsewhere.URL, "not followed")
	tells(t, s.Failed(t, chart.Key(), "SourceRefused"), "fetch chart web", "index.yaml")
	if !followed.Load() || shown.Load() {
		t.Errorf("the index is looked for elsewhere: %v, with the credential: %v; want it without", followed.Load(), shown.Load())
	}
	if strings.Contains(string(s.WholeLog(t)), "hunter2-of-the-test") {
		t.Error("the password stands in the log")
	}
}
