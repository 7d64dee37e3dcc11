package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "guanjia"

// file is one Go file of the tree, read once for all tests.
type file struct {
	path    string // from the root, with slashes
	pkg     string // its folder
	test    bool   // compiled for tests only
	ast     *ast.File
	imports map[string]string // import path -> name in this file
}

// source is the whole tree.
type source struct {
	root  string
	fset  *token.FileSet
	files []*file
}

var read = sync.OnceValues(readTree)

func tree(t *testing.T) *source {
	t.Helper()
	s, err := read()
	if err != nil {
		t.Fatalf("read the tree: %v", err)
	}
	if len(s.files) < 100 {
		t.Fatalf("only %d Go files found under %s; the walk is wrong", len(s.files), s.root)
	}
	return s
}

func readTree() (*source, error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	s := &source{root: root, fset: token.NewFileSet()}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); p != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := s.parse(p)
		if err != nil {
			return err
		}
		s.files = append(s.files, f)
		return nil
	})
	return s, err
}

func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fs.ErrNotExist
		}
		dir = up
	}
}

func (s *source) parse(p string) (*file, error) {
	tree, err := parser.ParseFile(s.fset, p, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(s.root, p)
	if err != nil {
		return nil, err
	}
	rel = filepath.ToSlash(rel)
	f := &file{path: rel, pkg: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), ast: tree, imports: map[string]string{}}
	for _, im := range tree.Imports {
		target, err := strconv.Unquote(im.Path.Value)
		if err != nil {
			return nil, err
		}
		name := path.Base(target)
		if im.Name != nil {
			name = im.Name.Name
		}
		f.imports[target] = name
	}
	return f, nil
}

// ours are the imports of this module, as folders.
func (f *file) ours() []string {
	var out []string
	for target := range f.imports {
		if dir, ok := strings.CutPrefix(target, module+"/"); ok {
			out = append(out, dir)
		}
	}
	return out
}

// uses visits every pkg.Name that the file mentions of an imported package.
func (f *file) uses(importPath string, visit func(name string, pos token.Pos)) {
	local, ok := f.imports[importPath]
	if !ok {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == local {
				visit(sel.Sel.Name, sel.Pos())
			}
		}
		return true
	})
}

func (s *source) at(pos token.Pos) string {
	p := s.fset.Position(pos)
	rel, err := filepath.Rel(s.root, p.Filename)
	if err != nil {
		rel = p.Filename
	}
	return filepath.ToSlash(rel) + ":" + strconv.Itoa(p.Line)
}

// helper tells whether a package only serves tests: dbtest, redistest and the
// like, with what lies below them.
func helper(pkg string) bool {
	for _, part := range strings.Split(pkg, "/") {
		if strings.HasSuffix(part, "test") {
			return true
		}
	}
	return false
}

// under tells whether pkg is dir or lies below it.
func under(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }
