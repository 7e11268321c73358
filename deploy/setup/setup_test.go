package main

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// tree is what files there are below dir, with their contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func generated(t *testing.T, args ...string) (dir, out string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "secrets")
	return dir, again(t, dir, args...)
}

func again(t *testing.T, dir string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(append([]string{"--dir", dir}, args...), &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestSecretsAreMadeOnce(t *testing.T) {
	dir, _ := generated(t)
	first := tree(t, dir)
	want := []string{"admin/nats.nk", "alerter/nats.nk", "dashboard/nats.nk", "dashboard/token", "drift-scanner/nats.nk",
		"nats/accounts.conf", "receiver/hook", "receiver/nats.nk", "worker/nats.nk"}
	for _, name := range want {
		if first[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}
	if len(first) != len(want) {
		t.Errorf("%d files, want %d", len(first), len(want))
	}
	again(t, dir)
	if diff := cmp.Diff(first, tree(t, dir)); diff != "" {
		t.Errorf("the second run changed secrets:\n%s", diff)
	}
	other, _ := generated(t)
	if tree(t, other)["worker/nats.nk"] == first["worker/nats.nk"] {
		t.Error("two installations share a key")
	}
}

func TestPermissionsFollowTheCluster(t *testing.T) {
	dir, _ := generated(t, "--cluster", "edge")
	accounts := tree(t, dir)["nats/accounts.conf"]
	if !strings.Contains(accounts, "plumb.sync.edge.*.*") || strings.Contains(accounts, "local") {
		t.Errorf("accounts are not those of cluster edge:\n%s", accounts)
	}
	for name, content := range tree(t, dir) {
		if strings.HasSuffix(name, ".nk") && strings.Contains(accounts, strings.TrimSpace(content)) {
			t.Errorf("NATS is given the seed of %s", name)
		}
	}
}

// A service runs as another user and can read its files; others cannot get there.
func TestSecretsAreReadableOnlyThroughTheirDirectory(t *testing.T) {
	dir, _ := generated(t)
	for path, want := range map[string]fs.FileMode{".": 0o700, "worker": 0o755, "worker/nats.nk": 0o644} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

func TestManifestsGiveEachServiceItsOwn(t *testing.T) {
	dir, _ := generated(t)
	for _, file := range []string{"alerter/slack-url", "worker/kubeconfig"} {
		if err := put(filepath.Join(dir, file), "x"); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string][]string{}
	for _, text := range strings.Split(again(t, dir, "--manifests", "plumb-system"), "---\n")[1:] {
		var secret struct {
			Metadata struct{ Name, Namespace string }
			Data     map[string]string
		}
		if err := yaml.UnmarshalStrict([]byte(text), &secret); err != nil && !strings.Contains(err.Error(), "unknown field") {
			t.Fatal(err)
		}
		if secret.Metadata.Namespace != "plumb-system" {
			t.Errorf("%s is of namespace %q", secret.Metadata.Name, secret.Metadata.Namespace)
		}
		for _, key := range []string{"accounts.conf", "hook", "kubeconfig", "nats.nk", "slack-url", "token"} {
			content, there := secret.Data[key]
			if !there {
				continue
			}
			got[secret.Metadata.Name] = append(got[secret.Metadata.Name], key)
			file := filepath.Join(dir, strings.TrimPrefix(secret.Metadata.Name, "plumb-"), key)
			if plain, err := base64.StdEncoding.DecodeString(content); err != nil || string(plain) != tree(t, filepath.Dir(file))[key] {
				t.Errorf("%s of %s is not what %s holds", key, secret.Metadata.Name, file)
			}
		}
	}
	want := map[string][]string{
		"plumb-nats": {"accounts.conf"}, "plumb-receiver": {"hook", "nats.nk"}, "plumb-worker": {"nats.nk"},
		"plumb-drift-scanner": {"nats.nk"}, "plumb-alerter": {"nats.nk", "slack-url"}, "plumb-dashboard": {"nats.nk", "token"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Secrets (-want +got):\n%s", diff)
	}
}

const kubeconfig = `
apiVersion: v1
kind: Config
current-context: here
clusters:
- {name: here, cluster: {server: "https://127.0.0.1:1", certificate-authority: ca.crt}}
- {name: there, cluster: {server: "https://127.0.0.1:2"}}
users:
- {name: here, user: {token: of-here}}
- {name: there, user: {token: of-there}}
contexts:
- {name: here, context: {cluster: here, user: here}}
- {name: there, context: {cluster: there, user: there}}
`

func TestTheKubeconfigIsWholeAndHoldsNothingElse(t *testing.T) {
	from := t.TempDir()
	for name, content := range map[string]string{"config": kubeconfig, "ca.crt": "a certificate"} {
		if err := os.WriteFile(filepath.Join(from, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir, _ := generated(t, "--kubeconfig", filepath.Join(from, "config"))
	for _, service := range []string{"worker", "drift-scanner"} {
		c, err := clientcmd.LoadFromFile(filepath.Join(dir, service, "kubeconfig"))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(c.Clusters["here"].CertificateAuthorityData); got != "a certificate" {
			t.Errorf("the certificate is %q", got)
		}
		if len(c.Clusters) != 1 || len(c.AuthInfos) != 1 || c.AuthInfos["here"].Token != "of-here" {
			t.Error("it is not the current context alone")
		}
	}
}

func TestBadCalls(t *testing.T) {
	seeded, _ := generated(t)
	if err := put(filepath.Join(seeded, "worker", seedFile), "not a seed"); err != nil {
		t.Fatal(err)
	}
	asking := filepath.Join(t.TempDir(), "config")
	text := strings.Replace(kubeconfig, "{token: of-here}", "{exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never}}", 1)
	if err := os.WriteFile(asking, []byte(strings.Replace(text, ", certificate-authority: ca.crt", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for sentence, c := range map[string]struct {
		args []string
		want string
	}{
		"a kubeconfig that asks":    {[]string{"--dir", t.TempDir(), "--kubeconfig", asking}, "user here: runs aws, which is not in the images"},
		"no directory":              {nil, "usage: setup --dir DIRECTORY"},
		"words that mean nothing":   {[]string{"--dir", "x", "y"}, "usage: setup --dir DIRECTORY"},
		"a kubeconfig that is away": {[]string{"--dir", t.TempDir(), "--kubeconfig", "/none"}, "copy kubeconfig /none:"},
		"a seed that is none":       {[]string{"--dir", seeded}, "worker/nats.nk: "},
	} {
		t.Run(sentence, func(t *testing.T) {
			err := run(c.args, new(bytes.Buffer))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "not a seed") {
				t.Errorf("the error holds the secret: %v", err)
			}
		})
	}
}
