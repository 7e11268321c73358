package git_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

// other is a further repository of the site's server.
func (s *site) other(name string) *site {
	s.Helper()
	repo, err := s.server.Create(s.Context(), name)
	if err != nil {
		s.Fatal(err)
	}
	o := *s
	o.repo = repo
	return &o
}

func gitmodules(path, url string) string {
	return fmt.Sprintf("[submodule %q]\n\tpath = %s\n\turl = %s\n", path, path, url)
}

// pushLinked pushes a commit with the files and, by path, submodules at commits.
func (s *site) pushLinked(links, files map[string]string) string {
	s.Helper()
	s.push(files)
	index := []string{"update-index", "--add"}
	for path, sha := range links {
		if err := os.MkdirAll(filepath.Join(s.repo.Work, path), 0o755); err != nil {
			s.Fatal(err)
		}
		index = append(index, "--cacheinfo", "160000,"+sha+","+path)
	}
	s.git(index...)
	s.git("commit", "-q", "--allow-empty", "-m", "link")
	if err := s.repo.Push(s.Context()); err != nil {
		s.Fatal(err)
	}
	return s.git("rev-parse", "HEAD")
}

func (s *site) query() git.Query { return git.Query{URL: s.url(), Ref: "main"} }

// whole is main with its submodules.
func (s *site) whole(q git.Query) (tree.Tree, error) {
	s.Helper()
	c, err := s.store.Fetch(s.Context(), q)
	if err != nil {
		s.Fatal(err)
	}
	return s.store.SubmoduleTree(s.Context(), q, c, nil)
}

func wantContent(t *testing.T, in fs.FS, files map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if got, err := fs.ReadFile(in, name); err != nil || string(got) != files[name] {
			t.Errorf("%s is %q (%v), want %q", name, got, err, files[name])
		}
	}
}

func TestSubmodulesAreFetchedAtTheCommitThatTheTreeNames(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	deep := s.other("deep")
	deepest := deep.push(map[string]string{"d": "deep"})
	lib := s.other("org/lib")
	old := lib.pushLinked(map[string]string{"vendor/deep": deepest}, map[string]string{"f": "old", ".gitmodules": gitmodules("vendor/deep", "../../deep.git")})
	tip := lib.push(map[string]string{"f": "new"})
	lib.git("checkout", "-q", "-b", "side")
	beside := lib.push(map[string]string{"f": "beside"})
	lib.push(map[string]string{"f": "further"})
	cases := map[string]struct {
		link, modules string
		want          string
	}{
		"the tip of a branch":               {tip, gitmodules("lib", "../org/lib.git"), "new"},
		"an older commit, by HEAD":          {old, gitmodules("lib", "../org/lib.git"), "old"},
		"one of the branch of .gitmodules":  {beside, gitmodules("lib", "../org/lib.git") + "\tbranch = side\n", "beside"},
		"an absolute url of the same host":  {tip, gitmodules("lib", lib.repo.URL()), "new"},
		"a url with dots and no suffix":     {tip, gitmodules("lib", "./../org/lib"), "new"},
		"one that leads up and down":        {old, gitmodules("lib", ".././org/lib.git"), "old"},
		"other settings of the file beside": {tip, "[core]\n\tx = y\n" + gitmodules("lib", "../org/lib.git") + "\tshallow = true\n\tupdate = !touch /tmp/x\n", "new"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.pushLinked(map[string]string{"lib": c.link}, map[string]string{"own": "x", ".gitmodules": c.modules})
			s.open(git.Options{})
			whole, err := s.whole(s.query())
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"own": "x", "lib/f": c.want, "lib/vendor/deep/d": "deep"}
			wantContent(t, whole, want)
			if _, err := whole.Digest("lib", nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestASubmoduleThatMovesChangesTheDigest(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	lib := s.other("lib")
	one, two := lib.push(map[string]string{"f": "1"}), lib.push(map[string]string{"f": "2"})
	seen := map[string]string{}
	for _, sha := range []string{one, two} {
		s.pushLinked(map[string]string{"lib": sha}, map[string]string{"app/x": "x", ".gitmodules": gitmodules("lib", "../lib.git")})
		whole, err := s.whole(s.query())
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range [][]string{{"lib"}, {"."}, {"app", "lib/f"}, {"app", "lib/none"}, {"app"}} {
			digest, err := whole.Digest(at[0], at[1:])
			if err != nil {
				t.Fatal(err)
			}
			key := strings.Join(at, " reading ")
			still := key == "app" || key == "app reading lib/none"
			if seen[key] != "" && (seen[key] == digest) != still {
				t.Errorf("the digest of %s stays: %v, want %v", key, !still, still)
			}
			seen[key] = digest
		}
	}
}

func TestSubmodulesThatAreRefused(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	lib := s.other("lib")
	tip := lib.push(map[string]string{"f": "1"})
	host := s.server.Addr()
	many := ""
	for i := range 65 {
		many += gitmodules(fmt.Sprintf("m/%d", i), "../lib.git")
	}
	cases := map[string]struct {
		link    string // default: the tip of lib
		at      string // default: lib
		modules string
		words   []string
	}{
		"another host":                        {modules: gitmodules("lib", "https://evil.example/lib.git"), words: []string{"lib", "another host"}},
		"another port":                        {modules: gitmodules("lib", "http://127.0.0.1:1/lib.git"), words: []string{"lib", "another host"}},
		"another scheme":                      {modules: gitmodules("lib", "https://"+host+"/lib.git"), words: []string{"lib", "../lib.git"}},
		"ssh of the same host":                {modules: gitmodules("lib", "git@127.0.0.1:lib.git"), words: []string{"lib"}},
		"a file":                              {modules: gitmodules("lib", "file:///etc"), words: []string{"lib", "URL"}},
		"a path of this machine":              {modules: gitmodules("lib", "/etc/passwd"), words: []string{"lib"}},
		"an option for ssh":                   {modules: gitmodules("lib", "ssh://-oProxyCommand=x/lib"), words: []string{"lib"}},
		"an option for git":                   {modules: gitmodules("lib", "--upload-pack=touch /tmp/x"), words: []string{".gitmodules", "dash"}},
		"a helper program":                    {modules: gitmodules("lib", `"ext::sh -c touch% /tmp/x"`), words: []string{"lib"}},
		"a credential in the url":             {modules: gitmodules("lib", "http://u:canary@"+host+"/lib.git"), words: []string{"lib", "credential"}},
		"a url above the root":                {modules: gitmodules("lib", "../../../lib.git"), words: []string{"lib", "above the root"}},
		"a url with dots further in":          {modules: gitmodules("lib", "../x/../../lib.git"), words: []string{"lib"}},
		"a url with a query":                  {modules: gitmodules("lib", "../lib.git?x"), words: []string{"lib"}},
		"a line end in the url":               {modules: gitmodules("lib", `"../lib.git\nx"`), words: []string{".gitmodules", "control"}},
		"no url":                              {modules: "[submodule \"lib\"]\n\tpath = lib\n", words: []string{".gitmodules", `"lib"`, "url"}},
		"no path":                             {modules: "[submodule \"lib\"]\n\turl = ../lib.git\n", words: []string{".gitmodules", `"lib"`, "path"}},
		"a path that leads out":               {modules: gitmodules("../lib", "../lib.git"), words: []string{".gitmodules", ".."}},
		"an absolute path":                    {modules: gitmodules("/lib", "../lib.git"), words: []string{".gitmodules", "/lib"}},
		"a path in .git":                      {modules: gitmodules("a/.GIT/hooks", "../lib.git"), words: []string{".gitmodules", ".git"}},
		"a path with a dash":                  {modules: gitmodules("-u", "../lib.git"), words: []string{".gitmodules", "dash"}},
		"a name that leads out":               {modules: strings.Replace(gitmodules("lib", "../lib.git"), `"lib"`, `"../../hooks"`, 1), words: []string{".gitmodules", "name"}},
		"a branch that is an option":          {modules: gitmodules("lib", "../lib.git") + "\tbranch = --upload-pack=x\n", words: []string{".gitmodules", "dash"}},
		"two of one path":                     {modules: gitmodules("lib", "../lib.git") + strings.Replace(gitmodules("lib", "../lib.git"), `"lib"`, `"b"`, 1), words: []string{".gitmodules", "another"}},
		"a file that does not parse":          {modules: "[submodule \"lib\"\n", words: []string{".gitmodules", "parse"}},
		"a file that is a symlink":            {modules: "symlink:own", words: []string{".gitmodules", "plain file"}},
		"a bomb":                              {modules: strings.Repeat("#"+strings.Repeat("x", 99)+"\n", 700), words: []string{".gitmodules", "70700 bytes"}},
		"a commit that nothing contains":      {link: strings.Repeat("5", 40), modules: gitmodules("lib", "../lib.git"), words: []string{"lib", strings.Repeat("5", 40), "branch"}},
		"a branch that is not there":          {link: strings.Repeat("5", 40), modules: gitmodules("lib", "../lib.git") + "\tbranch = gone\n", words: []string{"lib", "gone"}},
		"a repository that is not there":      {modules: gitmodules("lib", "../none.git"), words: []string{"lib", "no such repository"}},
		"a path that leads through a symlink": {modules: gitmodules("hop/lib", "../lib.git"), at: "real/lib", words: []string{".gitmodules", "symlink"}},
		"more than the limit":                 {at: "m", modules: many, words: []string{"64 submodules"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			sha := tip
			if c.link != "" {
				sha = c.link
			}
			links := map[string]string{}
			switch c.at {
			case "":
				links["lib"] = sha
			case "m":
				for i := range 65 {
					links[fmt.Sprintf("m/%d", i)] = sha
				}
			default:
				links[c.at] = sha
			}
			s.pushLinked(links, map[string]string{"own": "x", "hop": "symlink:real", ".gitmodules": c.modules})
			s.open(git.Options{})
			_, err := s.whole(s.query())
			if fault.ReasonOf(err) == fault.FetchFailed {
				wantFault(t, err, fault.Permanent, fault.FetchFailed, c.words...)
			} else {
				wantFault(t, err, fault.Permanent, fault.SourceRefused, c.words...)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the credential shows: %v", err)
			}
		})
	}
}

func TestSubmodulesWithinEachOtherEnd(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	at := s.push(map[string]string{"f": "1"})
	for range 10 { // each holds the one before
		at = s.pushLinked(map[string]string{"again": at}, map[string]string{".gitmodules": gitmodules("again", "../config.git")})
	}
	_, err := s.whole(s.query())
	wantFault(t, err, fault.Permanent, fault.SourceRefused, strings.Repeat("again/", 8)+"again", "8 deep")
}

func TestSubmodulesUseTheCredentialOfTheRepository(t *testing.T) {
	s := newSite(t, gitserver.Options{Username: "u", Password: "p"}, git.Options{})
	lib := s.other("lib")
	tip := lib.push(map[string]string{"f": "1"})
	s.pushLinked(map[string]string{"lib": tip}, map[string]string{".gitmodules": gitmodules("lib", "../lib.git")})
	q := s.query()
	q.Credential = git.Basic("u", "p")
	c, err := s.store.Fetch(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	lists := s.server.Lists()
	for range 2 {
		whole, err := s.store.SubmoduleTree(t.Context(), q, c, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantContent(t, whole, map[string]string{"lib/f": "1"})
	}
	if n := s.server.Lists() - lists; n != 1 {
		t.Errorf("the submodule was asked for %d times for one commit, want once", n)
	}
	// What is in the store is not for those whom the server would not let in.
	q.Credential = git.Basic("u", "other")
	_, err = s.store.SubmoduleTree(t.Context(), q, c, nil)
	wantFault(t, err, fault.Permanent, fault.FetchFailed, "lib", "401")
	_, err = s.store.SubmoduleTree(t.Context(), git.Query{URL: s.url(), Credential: git.Basic("u", "p")}, c, func(u git.URL) error {
		return fault.Refuse(fault.SourceRefused, fault.Place{}, "not for you: %s", u.Repo())
	})
	wantFault(t, err, fault.Permanent, fault.SourceRefused, "lib", "not for you: "+s.server.Addr()+"/lib")
}

func TestASubmoduleThatIsNotFetchedIsRefused(t *testing.T) {
	s := newSite(t, gitserver.Options{}, git.Options{})
	sha := s.pushLinked(map[string]string{"apps/web/vendor/lib": strings.Repeat("5", 40)},
		map[string]string{"apps/web/x": "x", "apps/db/x": "x", "link": "symlink:apps/web"})
	at := s.fetch("main")
	if at.SHA != sha {
		t.Fatal(at)
	}
	tests := map[string]string{
		"apps/web": "apps/web/vendor/lib", ".": "apps/web/vendor/lib", "link": "apps/web/vendor/lib",
		"apps/web/vendor/lib": "apps/web/vendor/lib", "apps/db": "", "none": "", "apps/web/x": "",
	}
	for range 2 { // the second time from memory
		for dir, found := range tests {
			err := s.tree(sha).RefuseSubmodules(dir)
			if found == "" {
				if err != nil {
					t.Errorf("%s: %v", dir, err)
				}
				continue
			}
			wantFault(t, err, fault.Permanent, fault.SourceRefused, found, "spec.source.submodules", "submodules: true")
		}
	}
	_, err := s.tree(sha).ReadFile("apps/web/vendor/lib/f")
	wantFault(t, err, fault.Permanent, fault.SourceRefused, "apps/web/vendor/lib", "submodules: true")
	// One that .gitmodules does not describe stays refused, and the rest is there.
	whole, err := s.whole(s.query())
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, whole, map[string]string{"apps/web/x": "x"})
	if _, err := whole.ReadFile("apps/web/vendor/lib/f"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file of a submodule that is not described gives %v", err)
	}
}
