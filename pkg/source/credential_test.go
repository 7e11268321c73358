package source

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

const passphrase = "correct horse"

// keys are an SSH key, the same with a passphrase, a line of known_hosts, and the
// key of a GitHub App.
var keys = sync.OnceValue(func() (k struct{ plain, locked, known, app string }) {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	block, _ := ssh.MarshalPrivateKey(private, "")
	k.plain = string(pem.EncodeToMemory(block))
	block, _ = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	k.locked = string(pem.EncodeToMemory(block))
	host, _ := ssh.NewPublicKey(public)
	k.known = "github.com " + string(ssh.MarshalAuthorizedKey(host))
	app, _ := rsa.GenerateKey(rand.Reader, 2048)
	k.app = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(app)}))
	return k
})

// wantNoSecret fails when err repeats a value.
func wantNoSecret(t *testing.T, err error, values map[string]string) {
	t.Helper()
	for key, value := range values {
		for line := range strings.Lines(value) {
			if line = strings.TrimSpace(line); len(line) > 6 && strings.Contains(err.Error(), line) {
				t.Errorf("the value of %s is told: %v", key, err)
			}
		}
	}
}

func TestWhatASecretHolds(t *testing.T) {
	k := keys()
	tests := map[string]struct {
		data map[string]string
		want string // kind of credential
		says []string
	}{
		"user name and password":                  {data: map[string]string{"username": "me", "password": "hunter2"}, want: "user name and password"},
		"a bearer token":                          {data: map[string]string{"bearerToken": "hunter2"}, want: "bearer token"},
		"a bearer token with empty others":        {data: map[string]string{"bearerToken": "hunter2", "username": "", "password": ""}, want: "bearer token"},
		"an SSH key as Flux writes it":            {data: map[string]string{"identity": k.plain, "identity.pub": "ssh-ed25519 x", "known_hosts": k.known}, want: "SSH key"},
		"an SSH key with its passphrase":          {data: map[string]string{"identity": k.locked, "known_hosts": k.known, "password": passphrase}, want: "SSH key"},
		"a GitHub App":                            {data: map[string]string{"githubAppID": "12", "githubAppInstallationID": "34\n", "githubAppPrivateKey": k.app}, want: "GitHub App"},
		"an App of GitHub Enterprise":             {data: map[string]string{"githubAppID": "12", "githubAppInstallationID": "34", "githubAppPrivateKey": k.app, "githubAppBaseURL": "https://github.example.com/api/v3"}, want: "GitHub App"},
		"keys of other tools beside":              {data: map[string]string{"username": "me", "password": "hunter2", "url": "https://x", "type": "git"}, want: "user name and password"},
		"nothing":                                 {says: []string{"holds no credential", "username and password; or bearerToken; or identity and known_hosts; or githubAppID, githubAppInstallationID and githubAppPrivateKey"}},
		"a misspelt key":                          {data: map[string]string{"username": "me", "pasword": "hunter2"}, says: []string{"lacks the key password", "a user name and password"}},
		"a password alone":                        {data: map[string]string{"password": "hunter2"}, says: []string{"lacks the key username"}},
		"an SSH key without known_hosts":          {data: map[string]string{"identity": k.plain}, says: []string{"lacks the key known_hosts of an SSH key"}},
		"known_hosts and a passphrase":            {data: map[string]string{"known_hosts": k.known, "password": passphrase}, says: []string{"lacks the key identity of an SSH key"}},
		"an encrypted key without its passphrase": {data: map[string]string{"identity": k.locked, "known_hosts": k.known}, says: []string{"encrypted", "key password"}},
		"an App without its installation":         {data: map[string]string{"githubAppID": "12", "githubAppPrivateKey": k.app}, says: []string{"lacks the key githubAppInstallationID of a GitHub App"}},
		"an App's base URL alone":                 {data: map[string]string{"githubAppBaseURL": "https://github.example.com/api/v3"}, says: []string{"lacks the key githubAppID"}},
		"an App whose API is http":                {data: map[string]string{"githubAppID": "12", "githubAppInstallationID": "34", "githubAppPrivateKey": k.app, "githubAppBaseURL": "http://github.example.com/api/v3"}, says: []string{"key githubAppBaseURL", "insecureHosts"}},
		"an App whose API is inside the cloud":    {data: map[string]string{"githubAppID": "12", "githubAppInstallationID": "34", "githubAppPrivateKey": k.app, "githubAppBaseURL": "https://169.254.169.254/"}, says: []string{"key githubAppBaseURL", "link-local"}},
		"a token and a password":                  {data: map[string]string{"bearerToken": "hunter2", "username": "me", "password": "hunter3"}, says: []string{"both a bearer token (bearerToken) and a user name and password (password and username)"}},
		"a key and a user name":                   {data: map[string]string{"identity": k.plain, "known_hosts": k.known, "username": "me"}, says: []string{"both an SSH key (identity and known_hosts) and a user name and password (username)"}},
		"an App and a token":                      {data: map[string]string{"githubAppID": "12", "bearerToken": "hunter2"}, says: []string{"both a GitHub App (githubAppID) and a bearer token (bearerToken)"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			data := map[string][]byte{}
			for key, value := range tt.data {
				data[key] = []byte(value)
			}
			c, err := Policy{}.parse(data)
			if tt.says == nil {
				if err != nil || c.String() != tt.want {
					t.Errorf("got %s (%v), want %s", c, err, tt.want)
				}
				return
			}
			if err == nil {
				t.Fatalf("got %s", c)
			}
			for _, words := range tt.says {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%v does not say %q", err, words)
				}
			}
			delete(tt.data, "githubAppBaseURL") // no secret
			wantNoSecret(t, err, tt.data)
		})
	}
}

// Every source of an Application names its own Secret, of the Application's
// namespace; without one the configuration decides.
func TestCredentialsOfEachSource(t *testing.T) {
	kube := kubetest.Start(t)
	c, err := cluster.Open(cluster.Options{Kubeconfig: kube.Kubeconfig()})
	if err != nil {
		t.Fatal(err)
	}
	namespace := kube.Namespace(t)
	k := keys()
	for name, data := range map[string]map[string]any{
		"token": {"bearerToken": "hunter2"},
		"key":   {"identity": k.plain, "known_hosts": k.known},
		"half":  {"identity": k.plain},
	} {
		secret := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name, "namespace": namespace}, "stringData": data,
		}}
		if _, err := c.As(cluster.Identity{}).Apply(t.Context(), object.New(secret, "", 0), cluster.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	write(t, dir, "token", "configured\n")
	p := Policy{Catalog: catalog.New(c, catalog.Options{}), Git: config.Git{Credentials: []config.Credential{
		{Prefix: "https://git.example.com/acme", BearerTokenFile: filepath.Join(dir, "token"), Namespaces: []string{namespace}},
	}}}
	a := application(namespace, "https://git.example.com/acme/config")
	u, err := git.ParseURL(a.Spec.Source.Repo, nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ ref, field, want, says string }{
		"its own Secret":               {ref: "token", field: "spec.source.secretRef", want: "bearer token"},
		"the Secret of another source": {ref: "key", field: "spec.sources[1].secretRef", want: "SSH key"},
		"none: that of the prefix":     {field: "spec.sources[0].secretRef", want: "bearer token"},
		"a Secret that is not there":   {ref: "none", field: "spec.sources[0].secretRef", says: "/none: the Secret does not exist"},
		"a Secret with half of one":    {ref: "half", field: "spec.sources[2].secretRef", says: "Secret " + namespace + "/half: it lacks the key known_hosts of an SSH key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var ref *v1alpha1.LocalReference
			if tt.ref != "" {
				ref = &v1alpha1.LocalReference{Name: tt.ref}
			}
			got, err := p.Credential(t.Context(), a, u, ref, tt.field)
			if tt.says == "" {
				if err != nil || got.String() != tt.want {
					t.Errorf("got %s (%v), want %s", got, err, tt.want)
				}
				return
			}
			class, _ := fault.ClassOf(err)
			if err == nil || class != fault.Permanent || fault.ReasonOf(err) != fault.SourceRefused ||
				!strings.Contains(err.Error(), tt.says) || !strings.HasPrefix(err.Error(), "Application "+namespace+"/web: "+tt.field) {
				t.Errorf("%v (%s, %s)", err, class, fault.ReasonOf(err))
			}
			if n := strings.Count(err.Error(), tt.field); n != 1 {
				t.Errorf("the field stands in it %d times: %v", n, err)
			}
		})
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Every kind can be given for a prefix; the longest that fits the URL, scheme
// included, counts.
func TestConfiguredCredentialsOfEveryKind(t *testing.T) {
	k, dir := keys(), t.TempDir()
	all := []string{"*"}
	p := Policy{Git: config.Git{Credentials: []config.Credential{
		{Prefix: "https://h.example/", UsernameFile: write(t, dir, "user", "me\n"), PasswordFile: write(t, dir, "password", "hunter2\n"), Namespaces: all},
		{Prefix: "https://h.example/acme", BearerTokenFile: write(t, dir, "token", "hunter2\n"), Namespaces: all},
		{Prefix: "ssh://git@h.example/acme", IdentityFile: write(t, dir, "id", k.locked), KnownHostsFile: write(t, dir, "known", k.known), PassphraseFile: write(t, dir, "phrase", passphrase+"\n"), Namespaces: all},
		{Prefix: "https://h.example/acme/app", GitHubApp: config.GitHubApp{ID: "12", InstallationID: "34", PrivateKeyFile: write(t, dir, "app", k.app), API: "https://h.example/api/v3"}, Namespaces: all},
		{Prefix: "https://h.example/acme/empty", BearerTokenFile: write(t, dir, "empty", "\n"), Namespaces: all},
		{Prefix: "https://h.example/acme/bad", GitHubApp: config.GitHubApp{ID: "12", InstallationID: "34", PrivateKeyFile: write(t, dir, "bad", "hunter2hunter2")}, Namespaces: all},
	}}}
	tests := map[string]struct {
		repo, want string
		says       string
		class      fault.Class
	}{
		"the whole host":                    {repo: "https://h.example/other/config", want: "user name and password"},
		"an owner":                          {repo: "https://h.example/acme/config", want: "bearer token"},
		"a repository":                      {repo: "https://h.example/ACME/app.git", want: "GitHub App"},
		"an owner by ssh":                   {repo: "ssh://git@h.example/acme/app", want: "SSH key"},
		"an owner by ssh in the short form": {repo: "git@h.example:acme/app.git", want: "SSH key"},
		"an owner by ssh as another user":   {repo: "deploy@h.example:acme/app.git", want: "SSH key"},
		"another owner by ssh":              {repo: "git@h.example:other/app.git", want: "no credential"},
		"a file that is empty for now":      {repo: "https://h.example/acme/empty/x", says: "https://h.example/acme/empty"},
		"a file that is no key":             {repo: "https://h.example/acme/bad", says: "githubAppPrivateKey", class: fault.Permanent},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			u, err := git.ParseURL(tt.repo, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Credential(t.Context(), application("team-a", tt.repo), u, nil, "")
			if tt.says == "" {
				if err != nil || got.String() != tt.want {
					t.Errorf("got %s (%v), want %s", got, err, tt.want)
				}
				return
			}
			if class, _ := fault.ClassOf(err); err == nil || class != tt.class || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v (%s)", err, class)
			}
		})
	}
}

// Registries and Helm repositories take what is configured for their prefix, too.
func TestConfiguredCredentialsOfRegistries(t *testing.T) {
	dir := t.TempDir()
	all := []string{"*"}
	p := Policy{Git: config.Git{Credentials: []config.Credential{
		{Prefix: "oci://r.example", BearerTokenFile: write(t, dir, "token", "hunter2\n"), Namespaces: all},
		{Prefix: "oci://r.example/acme", UsernameFile: write(t, dir, "user", "me\n"), PasswordFile: write(t, dir, "password", "hunter2\n"), Namespaces: all},
		{Prefix: "https://h.example", GitHubApp: config.GitHubApp{ID: "12", InstallationID: "34", PrivateKeyFile: write(t, dir, "app", keys().app)}, Namespaces: all},
	}}}
	for name, c := range map[string]struct{ url, want, says string }{
		"a registry":                       {url: "oci://r.example/other/config", want: "bearer token"},
		"the longest prefix":               {url: "oci://r.example/acme/config", want: "user name and password"},
		"another registry":                 {url: "oci://other.example/acme", want: "no credential"},
		"a kind that no registry can take": {url: "https://h.example/charts", says: "https://h.example of git.credentials: it holds no credential of a registry"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := p.Registry(t.Context(), application("team-a", c.url), c.url, nil, "")
			if c.says == "" && (err != nil || got.String() != c.want) {
				t.Errorf("got %s (%v), want %s", got, err, c.want)
			}
			if class, _ := fault.ClassOf(err); c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || class != fault.Transient || fault.ReasonOf(err) != fault.SourceRefused) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}
