package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/config"
)

// secrets is a directory with files as the configurations below name them.
func secrets(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"secret": "s3cret\n", "empty": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const everything = `
cluster: prod
clusterLabels: {env: prod, example.org/region: eu-1}
kubernetes: {kubeconfig: DIR/secret}
nats: {url: "nats://a:4222,tls://b:4222", credentialsFile: DIR/secret, dataDir: /data, replicas: 3, syncAlways: true}
admin: {listen: "127.0.0.1:9000", profiles: true}
git:
  insecureHosts: [127.0.0.1, git.local]
  credentials:
  - {prefix: "https://github.com/acme", usernameFile: DIR/secret, passwordFile: DIR/secret, namespaces: [team-a]}
  - {prefix: "http://git.local:3000/x", bearerTokenFile: DIR/secret, namespaces: ["*"]}
  - {prefix: "ssh://git@github.com/acme", identityFile: DIR/secret, knownHostsFile: DIR/secret, passphraseFile: DIR/secret, namespaces: [team-a]}
  - prefix: https://github.com/other
    githubApp: {id: 12, installationId: "34", privateKeyFile: DIR/secret, api: "https://github.example.com/api/v3"}
    namespaces: [team-b]
  sources: [{prefix: "https://github.com/acme", namespaces: [team-a, team-b]}]
  aliases: {git.local:3000/acme/config: github.com/acme/config}
receiver:
  listen: ":80"
  hooks:
  - {name: acme, provider: github, secretFile: DIR/secret, repos: ["https://github.com/acme/*"]}
worker: {concurrency: 4, impersonation: required, defaultServiceAccount: deployer, render: {timeout: 1m, cpu: 40s}}
driftScanner: {interval: 90s}
committer: {}
alerter:
  channels: [{name: ops, type: slack, urlFile: DIR/secret}]
  routes: [{match: {clusters: [prod], namespaces: ["team-*"], names: ["*"]}, to: [ops]}]
dashboard: {listen: "[::1]:8081"}
`

func TestParseReadsEveryKey(t *testing.T) {
	dir := secrets(t)
	secret := filepath.Join(dir, "secret")
	got, err := config.Parse("plumb.yaml", []byte(strings.ReplaceAll(everything, "DIR", dir)))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Cluster:       "prod",
		ClusterLabels: map[string]string{"env": "prod", "example.org/region": "eu-1"},
		Kubernetes:    config.Kubernetes{Kubeconfig: secret},
		NATS:          config.NATS{URL: "nats://a:4222,tls://b:4222", CredentialsFile: secret, DataDir: "/data", Replicas: 3, SyncAlways: true},
		Admin:         config.Admin{Listen: "127.0.0.1:9000", Profiles: true},
		Git: config.Git{
			InsecureHosts: []string{"127.0.0.1", "git.local"},
			Credentials: []config.Credential{
				{Prefix: "https://github.com/acme", UsernameFile: secret, PasswordFile: secret, Namespaces: []string{"team-a"}},
				{Prefix: "http://git.local:3000/x", BearerTokenFile: secret, Namespaces: []string{"*"}},
				{Prefix: "ssh://git@github.com/acme", IdentityFile: secret, KnownHostsFile: secret, PassphraseFile: secret, Namespaces: []string{"team-a"}},
				{
					Prefix: "https://github.com/other", Namespaces: []string{"team-b"},
					GitHubApp: config.GitHubApp{ID: "12", InstallationID: "34", PrivateKeyFile: secret, API: "https://github.example.com/api/v3"},
				},
			},
			Sources: []config.Source{{Prefix: "https://github.com/acme", Namespaces: []string{"team-a", "team-b"}}},
			Aliases: map[string]string{"git.local:3000/acme/config": "github.com/acme/config"},
		},
		Receiver: config.Receiver{Listen: ":80", Hooks: []config.Hook{
			{Name: "acme", Provider: "github", SecretFile: secret, Repos: []string{"https://github.com/acme/*"}},
		}},
		Worker: config.Worker{
			Concurrency: 4, Impersonation: "required", DefaultServiceAccount: "deployer",
			Render: config.Render{Timeout: time.Minute, CPU: 40 * time.Second},
		},
		DriftScanner: config.DriftScanner{Interval: 90 * time.Second},
		Alerter: config.Alerter{
			Channels: []config.Channel{{Name: "ops", Type: "slack", URLFile: secret}},
			Routes: []config.Route{{
				Match: config.Match{Clusters: []string{"prod"}, Namespaces: []string{"team-*"}, Names: []string{"*"}},
				To:    []string{"ops"},
			}},
		},
		Dashboard: config.Dashboard{Listen: "[::1]:8081"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsLeftOutHasItsDefault(t *testing.T) {
	for sentence, text := range map[string]string{
		"an empty file":       "",
		"only a comment":      "# nothing\n",
		"empty sections":      "worker:\ncommitter:\ngit:\n  credentials:\n",
		"empty flow mappings": "{worker: {}, receiver: {hooks: []}}",
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := config.Parse("plumb.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			got.Receiver.Hooks = nil
			if diff := cmp.Diff(config.Default(), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Each case is a file and the whole error it leads to.
func TestBadInputIsNamedWithItsPlace(t *testing.T) {
	dir := secrets(t)
	for sentence, c := range map[string]struct{ file, want string }{
		"an unknown section": {
			"cluster: a\nrecevier: {}\n",
			`plumb.yaml:2: recevier: unknown key; known here: admin, alerter, cluster, clusterLabels, committer, dashboard, driftScanner, git, kubernetes, nats, receiver, worker`,
		},
		"an unknown key of a section": {
			"worker:\n  concurency: 3\n",
			`plumb.yaml:2: worker.concurency: unknown key; known here: concurrency, defaultServiceAccount, impersonation, render`,
		},
		"a key of a section without keys": {
			"committer: {author: x}\n",
			`plumb.yaml:1: committer.author: unknown key; no keys are known here yet, leave it empty`,
		},
		"a key twice": {
			"cluster: a\nadmin: {}\ncluster: b\n",
			`plumb.yaml:3: cluster: stands in line 1 already; remove one of the two`,
		},
		"a missing secret": {
			"receiver:\n  hooks:\n  - name: acme\n    provider: github\n    secretFile: DIR/none\n",
			`plumb.yaml:5: receiver.hooks[0].secretFile: open DIR/none: no such file or directory; create the file or mend the path`,
		},
		"an empty secret": {
			"alerter: {channels: [{name: a, type: slack, urlFile: DIR/empty}]}\n",
			`plumb.yaml:1: alerter.channels[0].urlFile: DIR/empty is empty; write the value into it`,
		},
		"a label of the cluster whose value is none": {
			"clusterLabels: {env: a b}\n",
			`plumb.yaml:1: clusterLabels.env: "a b" is not a label; use at most 63 letters, digits, '-', '_' and '.', as in env: prod`,
		},
		"a label of the cluster whose name is none": {
			"clusterLabels: {a/b/c: x}\n",
			`plumb.yaml:1: clusterLabels.a/b/c: "a/b/c" is not a label; use at most 63 letters, digits, '-', '_' and '.', as in env: prod`,
		},
		"a directory for a file": {
			"kubernetes: {kubeconfig: DIR}\n",
			`plumb.yaml:1: kubernetes.kubeconfig: DIR is a directory; name a file`,
		},
		"a hook without what it needs": {
			"receiver:\n  hooks:\n  - {name: acme}\n",
			"plumb.yaml:3: receiver.hooks[0].provider: is missing; add it\nplumb.yaml:3: receiver.hooks[0].secretFile: is missing; add it",
		},
		"a hook whose secret is left out": {
			"receiver: {hooks: [{name: acme, provider: github, secretFile: }]}\n",
			"plumb.yaml:1: receiver.hooks[0].secretFile: is missing; add it",
		},
		"an unknown provider": {
			"receiver: {hooks: [{name: a, provider: githab, secretFile: DIR/secret}]}\n",
			`plumb.yaml:1: receiver.hooks[0].provider: "githab" is not known; use one of github, gitlab, gitea, bitbucket, bitbucket-server, generic, dockerhub, ghcr, quay, harbor, distribution`,
		},
		"two hooks of one name": {
			"receiver:\n  hooks:\n  - {name: a, provider: github, secretFile: DIR/secret}\n  - {name: a, provider: gitea, secretFile: DIR/secret}\n",
			`plumb.yaml:4: receiver.hooks[1].name: "a" is taken already; choose another name`,
		},
		"a hook name that would need escaping": {
			"receiver: {hooks: [{name: a/b, provider: github, secretFile: DIR/secret}]}\n",
			`plumb.yaml:1: receiver.hooks[0].name: "a/b" is not a name; use lower-case letters, digits and '-', at most 63`,
		},
		"a number that is none": {
			"worker: {concurrency: many}\n",
			`plumb.yaml:1: worker.concurrency: want a whole number, got "many"`,
		},
		"a number out of bounds": {
			"worker: {concurrency: 0}\n",
			`plumb.yaml:1: worker.concurrency: 0 is out of bounds; give a whole number from 1 to 1024`,
		},
		"a number that overflows": {
			"nats: {replicas: 99999999999999999999}\n",
			`plumb.yaml:1: nats.replicas: want a whole number, got "99999999999999999999"`,
		},
		"a duration without unit": {
			"driftScanner: {interval: 300}\n",
			`plumb.yaml:1: driftScanner.interval: "300" is not a duration from 10s to 24h0m0s; write it as in 30s or 5m`,
		},
		"a tiny duration": {
			"driftScanner: {interval: 1ns}\n",
			`plumb.yaml:1: driftScanner.interval: "1ns" is not a duration from 10s to 24h0m0s; write it as in 30s or 5m`,
		},
		"a number for a text": {
			"cluster: 7\n",
			`plumb.yaml:1: cluster: want a text, got "7"`,
		},
		"a list for a section": {
			"worker: []\n",
			`plumb.yaml:1: worker: want a mapping of keys to values, got a list`,
		},
		"a mapping for a list": {
			"receiver: {hooks: {name: a}}\n",
			`plumb.yaml:1: receiver.hooks: want a list, got a mapping`,
		},
		"an empty list item": {
			"alerter:\n  channels:\n  -\n",
			`plumb.yaml:3: alerter.channels[0]: is empty; give a value or remove it`,
		},
		"an alias": {
			"cluster: &x a\nnats: {dataDir: *x}\n",
			`plumb.yaml:2: nats.dataDir: want a text, got an alias; write the value out`,
		},
		"an alias for a section": {
			"admin: &x {}\nworker: *x\n",
			`plumb.yaml:2: worker: want a mapping of keys to values, got an alias; write the value out`,
		},
		"a merge": {
			"admin: &x {}\nworker: {<<: *x}\n",
			`plumb.yaml:2: worker.<<: unknown key; known here: concurrency, defaultServiceAccount, impersonation, render`,
		},
		"two documents": {
			"cluster: a\n---\ncluster: b\n",
			`plumb.yaml: read YAML: more than one document; keep one`,
		},
		"not a mapping": {
			"just text\n",
			`plumb.yaml:1: want a mapping of keys to values, got "just text"`,
		},
		"broken YAML": {
			"cluster: a\nnats:\n\turl: x\n",
			`plumb.yaml:3: read YAML: found character that cannot start any token; mend the syntax`,
		},
		"a route to nowhere": {
			"alerter:\n  routes:\n  - to: [ops]\n",
			`plumb.yaml:3: alerter.routes[0].to[0]: no channel is named "ops"; add it to alerter.channels`,
		},
		"a broken glob": {
			"alerter: {routes: [{match: {namespaces: [\"[\"]}, to: []}]}\n",
			`plumb.yaml:1: alerter.routes[0].match.namespaces[0]: "[" is not a glob; use * and ? as in team-*`,
		},
		"a NATS URL with a password, which is not repeated": {
			"nats: {url: \"nats://u:hunter2@h:4222\"}\n",
			`plumb.yaml:1: nats.url: carries a credential; move it into the file that nats.credentialsFile names`,
		},
		"a NATS URL of another scheme": {
			"nats: {url: \"http://h\"}\n",
			`plumb.yaml:1: nats.url: is not a NATS URL; write it as in nats://host:4222, several with commas between`,
		},
		"an address without port": {
			"dashboard: {listen: localhost}\n",
			`plumb.yaml:1: dashboard.listen: "localhost" is not an address; write host:port or :port`,
		},
		"an insecure host with a port": {
			"git: {insecureHosts: [\"h:80\"]}\n",
			`plumb.yaml:1: git.insecureHosts[0]: "h:80" is not a host; give a name or an IP address, without scheme and port`,
		},
		"a credential for nobody in particular": {
			"git:\n  credentials:\n  - {prefix: \"https://h/a\", bearerTokenFile: DIR/secret}\n",
			`plumb.yaml:3: git.credentials[0].namespaces: is missing; add it`,
		},
		"a credential that is half": {
			"git:\n  credentials:\n  - {prefix: \"https://h/a\", passwordFile: DIR/secret, namespaces: [a]}\n",
			`plumb.yaml:3: git.credentials[0].usernameFile: is missing; passwordFile needs it`,
		},
		"a credential that is two": {
			"git:\n  credentials:\n  - {prefix: \"https://h/a\", usernameFile: DIR/secret, passwordFile: DIR/secret, bearerTokenFile: DIR/secret, namespaces: [a]}\n",
			`plumb.yaml:3: git.credentials[0]: has two kinds of credential, usernameFile and bearerTokenFile; keep one`,
		},
		"a prefix with a password, which is not repeated": {
			"git: {sources: [{prefix: \"https://u:hunter2@h/a\", namespaces: [a]}]}\n",
			`plumb.yaml:1: git.sources[0].prefix: carries a credential; move it into a file`,
		},
		"a credential that is none": {
			"git:\n  credentials:\n  - {prefix: \"https://h/a\", namespaces: [a]}\n",
			`plumb.yaml:3: git.credentials[0]: has no credential; give one of usernameFile and passwordFile; bearerTokenFile; identityFile and knownHostsFile; githubApp`,
		},
		"an SSH key without known_hosts": {
			"git:\n  credentials:\n  - {prefix: \"ssh://git@h/a\", identityFile: DIR/secret, namespaces: [a]}\n",
			`plumb.yaml:3: git.credentials[0].knownHostsFile: is missing; identityFile needs it`,
		},
		"a passphrase without its key": {
			"git:\n  credentials:\n  - {prefix: \"ssh://git@h/a\", knownHostsFile: DIR/secret, passphraseFile: DIR/secret, namespaces: [a]}\n",
			`plumb.yaml:3: git.credentials[0].identityFile: is missing; knownHostsFile needs it`,
		},
		"an SSH key for https": {
			"git:\n  credentials:\n  - {prefix: \"https://h/a\", identityFile: DIR/secret, knownHostsFile: DIR/secret, namespaces: [a]}\n",
			`plumb.yaml:3: git.credentials[0].prefix: is no ssh URL, which alone identityFile can be used for; write it as in ssh://git@github.com/acme`,
		},
		"an SSH key whose file is not there": {
			"git:\n  credentials:\n  - {prefix: \"ssh://git@h/a\", identityFile: DIR/none, knownHostsFile: DIR/secret, namespaces: [a]}\n",
			`plumb.yaml:3: git.credentials[0].identityFile: open DIR/none: no such file or directory; create the file or mend the path`,
		},
		"an App without its installation": {
			"git:\n  credentials:\n  - prefix: https://h/a\n    githubApp: {id: 1, privateKeyFile: DIR/secret}\n    namespaces: [a]\n",
			`plumb.yaml:4: git.credentials[0].githubApp.installationId: is missing; add it`,
		},
		"an App that is nothing": {
			"git:\n  credentials:\n  - prefix: https://h/a\n    githubApp: {id: \"\", installationId: a/b, privateKeyFile: DIR/secret}\n    namespaces: [a]\n",
			`plumb.yaml:4: git.credentials[0].githubApp.id: "" is no id; give the number that GitHub shows
plumb.yaml:4: git.credentials[0].githubApp.installationId: "a/b" is no id; give the number that GitHub shows`,
		},
		"an App's API over http": {
			"git:\n  credentials:\n  - prefix: https://h/a\n    githubApp: {id: 1, installationId: 2, privateKeyFile: DIR/secret, api: \"http://h/api\"}\n    namespaces: [a]\n",
			`plumb.yaml:4: git.credentials[0].githubApp.api: http is for hosts in git.insecureHosts only; add "h" there or use https`,
		},
		"an App's API with a credential": {
			"git:\n  credentials:\n  - prefix: https://h/a\n    githubApp: {id: 1, installationId: 2, privateKeyFile: DIR/secret, api: \"https://u:p@h/api\"}\n    namespaces: [a]\n",
			`plumb.yaml:4: git.credentials[0].githubApp.api: carries a credential; remove it`,
		},
		"an App and a token": {
			"git:\n  credentials:\n  - prefix: https://h/a\n    bearerTokenFile: DIR/secret\n    githubApp: {id: 1, installationId: 2, privateKeyFile: DIR/secret}\n    namespaces: [a]\n",
			`plumb.yaml:3: git.credentials[0]: has two kinds of credential, bearerTokenFile and githubApp; keep one`,
		},
		"a token for SSH": {
			"git:\n  credentials:\n  - {prefix: \"ssh://git@h/a\", bearerTokenFile: DIR/secret, namespaces: [a]}\n",
			`plumb.yaml:3: git.credentials[0].prefix: is an ssh URL, which bearerTokenFile cannot be used for; give identityFile and knownHostsFile, or an https prefix`,
		},
		"a prefix with dots": {
			"git: {sources: [{prefix: \"https://h/a/../b\", namespaces: [a]}]}\n",
			`plumb.yaml:1: git.sources[0].prefix: is not a repository URL; write it as in https://github.com/acme or ssh://git@github.com/acme`,
		},
		"a prefix that is a file": {
			"git: {sources: [{prefix: \"file:///etc\", namespaces: [a]}]}\n",
			`plumb.yaml:1: git.sources[0].prefix: is not a repository URL; write it as in https://github.com/acme or ssh://git@github.com/acme`,
		},
		"plain http to a host that is not insecure": {
			"git:\n  sources:\n  - {prefix: \"http://h:3000/a\", namespaces: [a]}\n",
			`plumb.yaml:3: git.sources[0].prefix: http is for hosts in git.insecureHosts only; add "h" there or use https`,
		},
		"an alias with a scheme": {
			"git: {aliases: {\"https://h/a\": h/a}}\n",
			`plumb.yaml:1: git.aliases.https://h/a: "https://h/a" is not a repository's name; write lower-case host/path without scheme and .git`,
		},
		"an alias for nothing": {
			"git: {aliases: {a/x}}\n",
			`plumb.yaml:1: git.aliases.a/x: is empty; give a value or remove it`,
		},
		"an alias of an alias": {
			"git:\n  aliases:\n    a/x: b/x\n    b/x: c/x\n",
			`plumb.yaml:3: git.aliases.a/x: "b/x" is an alias itself; write the name that it stands for`,
		},
		"an account of another place": {
			"worker: {defaultServiceAccount: ../x}\n",
			`plumb.yaml:1: worker.defaultServiceAccount: "../x" is not a name of a service account; give one, of the Application's own namespace`,
		},
		"several mistakes, in the order of the file": {
			"worker: {concurrency: -1}\ncluster: A\n",
			"plumb.yaml:1: worker.concurrency: -1 is out of bounds; give a whole number from 1 to 1024\nplumb.yaml:2: cluster: \"A\" is not a name; use lower-case letters, digits and '-', at most 63",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := config.Parse("plumb.yaml", []byte(strings.ReplaceAll(c.file, "DIR", dir)))
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(strings.ReplaceAll(c.want, "DIR", dir), err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOnlyTheFilesOfUsedSectionsMustBeThere(t *testing.T) {
	const text = `
receiver: {hooks: [{name: a, provider: github, secretFile: /none/hook}]}
alerter: {channels: [{name: a, type: slack, urlFile: /none/url}]}
`
	for sentence, c := range map[string]struct {
		sections []string
		refused  bool
	}{
		"neither":  {[]string{"nats", "worker"}, false},
		"one":      {[]string{"nats", "alerter"}, true},
		"all":      {nil, true},
		"by name ": {[]string{"receiver"}, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := config.Parse("plumb.yaml", []byte(text), c.sections...)
			if (err != nil) != c.refused {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLoadNamesAFileThatIsNotThere(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "plumb.yaml"))
	if err == nil || !strings.Contains(err.Error(), "plumb.yaml: no such file") {
		t.Errorf("got %v", err)
	}
}

func TestLoadRefusesAFileThatIsNoConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plumb.yaml")
	if err := os.WriteFile(path, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(path)
	if err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("git: {aliases: {0}}"))
	f.Add([]byte("git: {aliases: {a/x: b/x, b/x: a/x}}"))
	f.Add([]byte("alerter: {routes: [{to: [x, ~, '']}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Whatever the bytes are: a valid value or an error, no panic.
		c, err := config.Parse("plumb.yaml", data, "none")
		if err == nil && (c.Worker.Concurrency < 1 || c.DriftScanner.Interval <= 0 || c.Cluster == "") {
			t.Errorf("accepted %+v", c)
		}
	})
}

// The page is a valid configuration, and what it gives as defaults are.
func TestTheConfigurationPageIsValid(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	c, err := config.Parse("docs/configuration.md", []byte(text), "none")
	if err != nil {
		t.Fatal(err)
	}
	// What is not an example is a default.
	c.Git, c.Receiver.Hooks, c.Alerter = config.Git{InsecureHosts: []string{}}, nil, config.Alerter{}
	want := config.Default()
	want.Git.InsecureHosts, want.ClusterLabels = []string{}, map[string]string{}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}
