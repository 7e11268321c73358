package argocd

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

// repository is a Secret of Argo CD with a credential for one URL, or for all that
// begin with it.
type repository struct {
	in       *moving.Input
	url      string
	template bool            // repo-creds
	used     map[string]bool // by namespace
	values   map[string]string
}

func newRepository(in *moving.Input) *repository {
	r := &repository{in: in, used: map[string]bool{}, values: map[string]string{}}
	r.template = in.At("metadata", "labels", "argocd.argoproj.io/secret-type").Text() == "repo-creds"
	for _, source := range []string{"data", "stringData"} {
		for _, key := range in.At(source).Names() {
			f := in.At(source, key)
			text := f.Peek()
			decoded, err := base64.StdEncoding.DecodeString(text)
			switch {
			case source == "stringData":
				r.values[key] = text
			case err != nil:
				f.Tell(moving.Lost, "is no Base64; left out")
			default:
				r.values[key] = string(decoded)
			}
		}
	}
	r.url = r.values["url"]
	return r
}

// tell notes something about a key, wherever it is given.
func (r *repository) tell(key string, level moving.Level, format string, args ...any) {
	for _, source := range []string{"data", "stringData"} {
		r.in.At(source, key).Tell(level, format, args...)
	}
}

// repoName is the same for all ways to write a URL.
func repoName(url string) string {
	if name, err := event.RepoName(url); err == nil {
		return name
	}
	_, rest, found := strings.Cut(url, "://")
	if !found {
		rest = url
	}
	return strings.ToLower(strings.TrimSuffix(rest, "/"))
}

// keys are the names of a credential in Argo CD, and here.
var keys = []struct{ theirs, ours string }{
	{"username", "username"}, {"password", "password"}, {"bearerToken", "bearerToken"}, {"sshPrivateKey", "identity"},
	{"githubAppID", "githubAppID"}, {"githubAppInstallationID", "githubAppInstallationID"},
	{"githubAppPrivateKey", "githubAppPrivateKey"}, {"githubAppEnterpriseBaseUrl", "githubAppBaseURL"},
}

// credential is what the Secret of ours holds; empty: nothing but a URL.
func (r *repository) credential() map[string]string {
	out := map[string]string{}
	for _, k := range keys {
		if v := r.values[k.theirs]; v != "" {
			out[k.ours] = v
		}
	}
	return out
}

// name of the Secret of ours. It is not that of Argo CD's own, which stays as it is.
func (r *repository) name() string { return "plumb-" + r.in.ObjectName() }

// secretFor finds the credential of a URL: that of the repository, else the longest
// prefix, and notes who needs it.
func (c *converter) secretFor(url, namespace string) *v1alpha1.LocalReference {
	wanted := repoName(url)
	var best *repository
	for _, r := range c.repos {
		name := repoName(r.url)
		switch {
		case r.url == "" || len(r.credential()) == 0:
		case !r.template && name == wanted:
			r.used[namespace] = true
			return moving.Local(r.name())
		case r.template && strings.HasPrefix(wanted, name) && (best == nil || len(name) > len(repoName(best.url))):
			best = r
		}
	}
	if best == nil {
		return nil
	}
	best.used[namespace] = true
	return moving.Local(best.name())
}

// secrets makes the Secrets that the Applications refer to, or says which to make.
func (c *converter) secrets(r *repository) {
	credential := r.credential()
	namespaces := slices.Sorted(maps.Keys(r.used))
	if _, ssh := credential["identity"]; ssh && c.knownHosts != "" {
		credential["known_hosts"] = c.knownHosts
	}
	if c.o.Secrets {
		for _, ns := range namespaces {
			c.result.Objects = append(c.result.Objects, secret(ns, r.name(), credential))
		}
	}
	c.tellSecret(r, credential, namespaces)
}

func secret(namespace, name string, credential map[string]string) map[string]any {
	data := map[string]any{}
	for k, v := range credential {
		data[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	return map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
		"metadata": map[string]any{"namespace": namespace, "name": name}}
}

func (c *converter) tellSecret(r *repository, credential map[string]string, namespaces []string) {
	what := fmt.Sprintf("copy it: make Secret %s in %s", r.name(), strings.Join(namespaces, " and "))
	level := moving.Lost
	switch {
	case len(namespaces) == 0:
		what = "no Application of the input uses it; git.credentials of Plumb's configuration holds credentials for all URLs with a prefix"
	case c.o.Secrets:
		what, level = fmt.Sprintf("became Secret %s in %s", r.name(), strings.Join(namespaces, " and ")), moving.Info
	}
	for _, k := range keys {
		if r.values[k.theirs] != "" && len(namespaces) > 0 {
			r.tell(k.theirs, level, "%s, with the key %s", what, k.ours)
		} else {
			r.tell(k.theirs, moving.Lost, "%s", what)
		}
	}
	if _, ssh := credential["identity"]; ssh && credential["known_hosts"] == "" {
		r.in.Tell(moving.Lost, "Secret %s needs the key known_hosts too: Plumb trusts no host at first use. Argo CD has it in ConfigMap argocd-ssh-known-hosts-cm", r.name())
	}
	r.tellRest()
}

// rest are the other keys of a repository's Secret.
var rest = []struct {
	key   string
	level moving.Level
	text  string
}{
	{"name", moving.Info, "is for people only"},
	{"type", moving.Info, "the URL says what it is"},
	{"enableOCI", moving.Info, "the URL says what it is"},
	{"project", moving.Lost, "a Secret is for the Applications of its namespace; there are no projects"},
	{"insecure", moving.Lost, "certificates are always checked; let the host have one that the system trusts"},
	{"insecureIgnoreHostKey", moving.Lost, "known_hosts is always checked"},
	{"enableLfs", moving.Lost, "Git LFS is not followed; keep what is rendered in Git"},
	{"forceHttpBasicAuth", moving.Info, "username and password are always sent"},
	{"tlsClientCertData", moving.Lost, "client certificates are not known"},
	{"tlsClientCertKey", moving.Lost, "client certificates are not known"},
	{"proxy", moving.Lost, "proxies are not known"},
	{"noProxy", moving.Lost, "proxies are not known"},
	{"gcpServiceAccountKey", moving.Lost, "identities of cloud providers are not known; use a password or a token"},
	{"useAzureWorkloadIdentity", moving.Lost, "identities of cloud providers are not known; use a password or a token"},
	{"depth", moving.Info, "what is fetched is always the newest commit alone"},
}

func (r *repository) tellRest() {
	for _, k := range rest {
		if v := r.values[k.key]; v == "false" || v == "0" {
			r.tell(k.key, moving.Info, "is the default")
		} else {
			r.tell(k.key, k.level, "%s", k.text)
		}
	}
	r.tell("url", moving.Info, "the Applications of this URL%s name the Secret", map[bool]string{true: ", as a prefix,", false: ""}[r.template])
	for _, f := range []moving.Field{r.in.At("metadata", "labels"), r.in.At("metadata", "annotations")} {
		f.Tell(moving.Info, "means something to Argo CD alone")
	}
}
