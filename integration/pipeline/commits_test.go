package pipeline

import (
	"crypto/ed25519"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// tells fails unless the Ready condition's message has all words.
func tells(t *testing.T, a *v1alpha1.Application, words ...string) {
	t.Helper()
	message := stack.Condition(a, "Ready").Message
	for _, word := range words {
		if !strings.Contains(message, word) {
			t.Errorf("message %q lacks %q", message, word)
		}
	}
}

// sshIdentity is a new key, as a file for ssh-keygen and git, and its public line.
func sshIdentity(t *testing.T) (file string, private []byte, public string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(key, "")
	must(t, err)
	private = pem.EncodeToMemory(block)
	file = filepath.Join(t.TempDir(), "identity")
	must(t, os.WriteFile(file, private, 0o600))
	signer, err := ssh.NewSignerFromKey(key)
	must(t, err)
	public = string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
	must(t, os.WriteFile(file+".pub", []byte(public), 0o600))
	return file, private, public
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// git runs git in the clone of a repository.
func git(t *testing.T, repo *gitserver.Repo, args ...string) string {
	t.Helper()
	out, err := repo.Git(t.Context(), args...)
	must(t, err)
	return out
}

// Only what one of the keys signed is applied; the status says who signed what else.
func TestOnlySignedCommitsAreApplied(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	mine, _, public := sshIdentity(t)
	other, _, _ := sshIdentity(t)
	secrets(t, s, ns, "signers", map[string]any{"keys": "ada@example.com namespaces=\"git\" " + public})
	repo := s.Repo(t, "acme/config", map[string]string{"web/cm.yaml": stack.ConfigMap("web", "unsigned")})
	a := stack.Application(ns, "web", repo, "web")
	a.Spec.Source.Verify = &v1alpha1.Verification{SecretRef: v1alpha1.LocalReference{Name: "signers"}}
	s.Create(t, a)
	tells(t, s.Failed(t, a.Key(), "SourceRefused"), "spec.source.verify", "it is not signed")

	signed := func(key, value string) string {
		for _, setting := range [][]string{{"gpg.format", "ssh"}, {"user.signingkey", key}, {"commit.gpgsign", "true"}} {
			git(t, repo, "config", setting[0], setting[1])
		}
		return s.Push(t, repo, map[string]string{"web/cm.yaml": stack.ConfigMap("web", value)})
	}
	good := signed(mine, "good")
	s.Live(t, a.Key(), good)
	s.Data(t, ns, "web", map[string]string{"value": "good"})

	signed(other, "evil")
	tells(t, s.Failed(t, a.Key(), "SourceRefused"), "none of the 1 that may sign")
	s.Data(t, ns, "web", map[string]string{"value": "good"})
	git(t, repo, "config", "commit.gpgsign", "false")
	s.Push(t, repo, map[string]string{"web/cm.yaml": stack.ConfigMap("web", "unsigned again")})
	last := signed(mine, "last")
	s.Live(t, a.Key(), last)
	s.Data(t, ns, "web", map[string]string{"value": "last"})
}

// A submodule below the path is refused until it is wanted; then its files are there.
// What is no file of Git is told by its name, too.
func TestSubmodulesAndPointersAreToldByName(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	lib := s.Repo(t, "acme/lib", map[string]string{"cm.yaml": stack.ConfigMap("lib", "one")})
	pinned := git(t, lib, "rev-parse", "HEAD")
	repo := s.Repo(t, "acme/config", map[string]string{"web/cm.yaml": stack.ConfigMap("web", "one")})
	git(t, repo, "update-index", "--add", "--cacheinfo", "160000,"+pinned+",web/lib")
	git(t, repo, "commit", "-q", "-m", "Add a submodule")
	// Commit adds what is in the clone; a directory keeps the submodule in the index.
	must(t, os.MkdirAll(filepath.Join(repo.Work, "web/lib"), 0o755))
	sha := s.PushSilently(t, repo, map[string]string{".gitmodules": "[submodule \"lib\"]\n\tpath = web/lib\n\turl = ../lib.git\n"})
	a := stack.Application(ns, "web", repo, "web")
	a.Spec.Source.Directory = &v1alpha1.DirectorySource{Recurse: true}
	s.Create(t, a)
	tells(t, s.Failed(t, a.Key(), "SourceRefused"), "web/lib", "submodules: true")

	s.Patch(t, a.Key(), `{"spec":{"source":{"submodules":true}}}`)
	s.Live(t, a.Key(), sha)
	s.Data(t, ns, "lib", map[string]string{"value": "one"})
	s.Data(t, ns, "web", map[string]string{"value": "one"})

	s.Push(t, repo, map[string]string{".gitmodules": "[submodule \"lib\"]\n\tpath = web/lib\n\turl = https://elsewhere.example.com/lib.git\n"})
	tells(t, s.Failed(t, a.Key(), "SourceRefused"), "web/lib", "another host")

	s.Push(t, repo, map[string]string{
		".gitmodules":  "[submodule \"lib\"]\n\tpath = web/lib\n\turl = ../lib.git\n",
		"web/big.yaml": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n",
	})
	tells(t, s.Await(t, a.Key(), "refused for the pointer", func(a *v1alpha1.Application) error {
		return lacks(stack.Condition(a, "Ready").Message, "LFS")
	}), "web/big.yaml", "Git LFS pointer")
}

// A tag in the range is followed when it is pushed, and when it goes.
func TestARangeFollowsPushedTags(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{"web/cm.yaml": stack.ConfigMap("web", "none")})
	tag := func(name, value string) string {
		sha, err := repo.Commit(t.Context(), name, map[string][]byte{"web/cm.yaml": []byte(stack.ConfigMap("web", value))})
		must(t, err)
		git(t, repo, "tag", "-a", "-m", name, name)
		must(t, repo.Push(t.Context(), "refs/tags/"+name))
		return sha
	}
	announce := func(name, after string) {
		s.AnnounceURL(t, repo.URL(), "delivery-"+name+after, "refs/tags/"+name, after)
	}
	first := tag("v1.0.0", "one")
	a := stack.Application(ns, "web", repo, "web")
	a.Spec.Source.Ref, a.Spec.Source.Semver = "", ">=1.0 <2"
	s.Create(t, a)
	s.Live(t, a.Key(), first)
	second := tag("v1.1.0", "two")
	announce("v1.1.0", git(t, repo, "rev-parse", "v1.1.0"))
	s.Live(t, a.Key(), second)
	s.Data(t, ns, "web", map[string]string{"value": "two"})
	tag("v2.0.0", "three")
	announce("v2.0.0", git(t, repo, "rev-parse", "v2.0.0"))
	must(t, repo.Push(t.Context(), ":refs/tags/v1.1.0"))
	announce("v1.1.0", strings.Repeat("0", 40))
	s.Live(t, a.Key(), first)
	s.Data(t, ns, "web", map[string]string{"value": "one"})
}
