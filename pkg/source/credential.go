package source

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
)

// Keys of a Secret with a credential, named as Flux names them.
const (
	keyUsername       = "username"
	keyPassword       = "password" // or the passphrase of identity
	keyBearerToken    = "bearerToken"
	keyIdentity       = "identity"
	keyKnownHosts     = "known_hosts"
	keyAppID          = "githubAppID"
	keyInstallationID = "githubAppInstallationID"
	keyAppPrivateKey  = "githubAppPrivateKey"
	keyAppBaseURL     = "githubAppBaseURL"
)

// Credential is what to show to the server of a repository: what the Secret ref
// of the Application's namespace holds, which the field of the Application names;
// without ref that of the configuration with the longest prefix of url that the
// namespace may use, if any. Errors name the place and the missing key, never a
// value: SourceRefused for what is wrong, transient for what cannot be read now.
func (p Policy) Credential(ctx context.Context, a *v1alpha1.Application, url git.URL, ref *v1alpha1.LocalReference, field string) (git.Credential, error) {
	if ref == nil {
		return p.configured(url, a.Namespace)
	}
	place := catalog.PlaceOf(a, field)
	data, err := p.Catalog.Secret(ctx, a.Namespace, ref.Name, place)
	if err != nil {
		return git.Credential{}, fault.As(fault.SourceRefused, err)
	}
	c, err := p.parse(data)
	if err != nil {
		return git.Credential{}, fault.Refuse(fault.SourceRefused, place, "Secret %s/%s: %w", a.Namespace, ref.Name, err)
	}
	return c, nil
}

// kind is one way to authenticate, by the keys that it must have.
type kind struct {
	name     string
	keys     []string
	optional []string
	make     func(p Policy, data map[string]string) (git.Credential, error)
}

var kinds = []kind{
	{"a user name and password", []string{keyUsername, keyPassword}, nil, func(_ Policy, data map[string]string) (git.Credential, error) {
		return git.Basic(data[keyUsername], data[keyPassword]), nil
	}},
	{"a bearer token", []string{keyBearerToken}, nil, func(_ Policy, data map[string]string) (git.Credential, error) {
		return git.Bearer(data[keyBearerToken]), nil
	}},
	{"an SSH key", []string{keyIdentity, keyKnownHosts}, []string{keyPassword}, func(_ Policy, data map[string]string) (git.Credential, error) {
		return git.SSH("", []byte(data[keyIdentity]), []byte(data[keyPassword]), []byte(data[keyKnownHosts]))
	}},
	{"a GitHub App", []string{keyAppID, keyInstallationID, keyAppPrivateKey}, []string{keyAppBaseURL}, Policy.app},
}

func (p Policy) app(data map[string]string) (git.Credential, error) {
	var api git.URL
	if base := strings.TrimSpace(data[keyAppBaseURL]); base != "" {
		var err error
		if api, err = git.ParseAPI(base, p.Git.InsecureHosts); err != nil {
			return git.Credential{}, fmt.Errorf("key %s: %w", keyAppBaseURL, err)
		}
	}
	return git.GitHubApp(git.App{
		ID: strings.TrimSpace(data[keyAppID]), InstallationID: strings.TrimSpace(data[keyInstallationID]),
		PrivateKey: []byte(data[keyAppPrivateKey]), API: api,
	})
}

// parse finds the one kind of credential that the data is. Keys that none knows
// do not matter: other tools read the same Secret.
func (p Policy) parse(data map[string][]byte) (git.Credential, error) {
	text := map[string]string{}
	for key, value := range data {
		if len(value) > 0 {
			text[key] = string(value)
		}
	}
	found, err := kindOf(text)
	if err != nil {
		return git.Credential{}, err
	}
	return found.make(p, text)
}

func kindOf(data map[string]string) (kind, error) {
	var found []kind
	claimed := map[string]bool{}
	for _, k := range slices.Backward(kinds) { // a password is a passphrase where there is a key
		if k.begun(data, claimed) {
			found = append(found, k)
			for _, key := range slices.Concat(k.keys, k.optional) {
				claimed[key] = true
			}
		}
	}
	switch {
	case len(found) == 0:
		return kind{}, fmt.Errorf("it holds no credential; give %s", choices())
	case len(found) > 1:
		return kind{}, fmt.Errorf("it holds both %s and %s; keep one of them", found[0].among(data), found[1].among(data))
	}
	for _, key := range found[0].keys {
		if data[key] == "" {
			return kind{}, fmt.Errorf("it lacks the key %s of %s, which is %s", key, found[0].name, list(found[0].keys))
		}
	}
	return found[0], nil
}

// begun says whether the data has a key of the kind that no other has claimed.
func (k kind) begun(data map[string]string, claimed map[string]bool) bool {
	return slices.ContainsFunc(slices.Concat(k.keys, k.own()), func(key string) bool { return data[key] != "" && !claimed[key] })
}

// own are the optional keys that no other kind has.
func (k kind) own() []string {
	return slices.DeleteFunc(slices.Clone(k.optional), func(key string) bool { return key == keyPassword })
}

// among names the kind and those of its keys that the data has.
func (k kind) among(data map[string]string) string {
	have := slices.DeleteFunc(slices.Sorted(maps.Keys(data)), func(key string) bool { return !slices.Contains(slices.Concat(k.keys, k.own()), key) })
	return k.name + " (" + list(have) + ")"
}

func choices() string {
	var out []string
	for _, k := range kinds {
		out = append(out, list(k.keys))
	}
	return strings.Join(out, "; or ")
}

// list is "a", "a and b", "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func (p Policy) configured(url git.URL, namespace string) (git.Credential, error) {
	c, ok := p.Git.Credential(url.String(), namespace)
	if !ok {
		return git.Credential{}, nil
	}
	made, err := p.fromFiles(c)
	if err != nil {
		return git.Credential{}, fmt.Errorf("read the credential for %s of git.credentials: %w", c.Prefix, err)
	}
	return made, nil
}

// fromFiles reads the files at each use, so that a rotated credential is taken up.
func (p Policy) fromFiles(c config.Credential) (git.Credential, error) {
	data := map[string]string{keyAppID: c.GitHubApp.ID, keyInstallationID: c.GitHubApp.InstallationID, keyAppBaseURL: c.GitHubApp.API}
	for key, file := range map[string]string{
		keyUsername: c.UsernameFile, keyPassword: c.PasswordFile, keyBearerToken: c.BearerTokenFile,
		keyIdentity: c.IdentityFile, keyKnownHosts: c.KnownHostsFile, keyAppPrivateKey: c.GitHubApp.PrivateKeyFile,
	} {
		if err := readInto(data, key, file); err != nil {
			return git.Credential{}, err
		}
	}
	if err := readInto(data, keyPassword, c.PassphraseFile); err != nil {
		return git.Credential{}, err
	}
	maps.DeleteFunc(data, func(_, value string) bool { return value == "" })
	found, err := kindOf(data)
	if err != nil {
		return git.Credential{}, fault.Retry(fault.SourceRefused, "%w", err) // a file that is being written may be empty
	}
	return found.make(p, data)
}

func readInto(data map[string]string, key, file string) error {
	if file == "" {
		return nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return fault.Retry(fault.FetchFailed, "%w", err)
	}
	data[key] = strings.TrimSpace(string(content))
	return nil
}
