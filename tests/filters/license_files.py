"""Files as packages have them, written for these tests: kind, content, SPDX expression (None for none), permissive?"""
# ruff: noqa: E501 (a case is easier to read in a line)

MIT = (
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated "
    'documentation files (the "Software"), to deal in the Software without restriction, including without limitation '
    "the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and "
    "to permit persons to whom the Software is furnished to do so, subject to the following conditions:\n\nThe above "
    "copyright notice and this permission notice shall be included in all copies or substantial portions of the "
    'Software.\n\nTHE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT '
    "NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO "
    "EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN "
    "ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR "
    "OTHER DEALINGS IN THE SOFTWARE.\n"
)
ISC = (
    "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby "
    "granted, provided that the above copyright notice and this permission notice appear in all copies.\n\n"
    'THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING '
    "ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, "
    "DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, "
    "WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE "
    "USE OR PERFORMANCE OF THIS SOFTWARE.\n"
)
_DISCLAIMER = (
    'THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED '
    "WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR "
    "PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT OWNER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, "
    "INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF "
    "SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY "
    "THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING "
    "IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.\n"
)
BSD_2 = (
    "Redistribution and use in source and binary forms, with or without modification, are permitted provided that the "
    "following conditions are met:\n\n* Redistributions of source code must retain the above copyright notice, this "
    "list of conditions and the following disclaimer.\n* Redistributions in binary form must reproduce the above "
    "copyright notice, this list of conditions and the following disclaimer in the documentation and/or other "
    "materials provided with the distribution.\n"
)
BSD_3RD = (
    "* Neither the name of Fen Works nor the names of its contributors may be used to endorse or promote products "
    "derived from this software without specific prior written permission.\n"
)
BSD_4TH = (
    "* All advertising materials mentioning features or use of this software must display the following "
    "acknowledgement: This product includes software developed by Fen Works.\n"
)
GPL = (
    "{} is free software: you can redistribute it and/or modify it under the terms of the GNU {}General Public License "
    "as published by the Free Software Foundation{}.\n\nIt is distributed in the hope that it will be useful, but "
    "WITHOUT ANY WARRANTY; without even the implied warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.\n"
)
_LATER = ", either version {} of the License, or (at your option) any later version"
_ONLY = "; version {}"
_COPY = "Copyright (c) 2019 Ada Fen\n\n"
NOT_MIT = "{}\n\nThe Software may not be used for commercial purposes without a written agreement.\n"


def comment(text: str, mark: str = "# ") -> str:
    """The text as a comment, one mark a line, lines of ordinary length."""
    words, lines = text.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 74:
            lines.append("")
        lines[-1] += word + " "
    return "".join(f"{mark}{line.rstrip()}\n" for line in lines)


FILES = [
    # whole texts and their relatives
    ("license_text", _COPY + MIT, "MIT", True),
    ("license_text", "The MIT License (MIT)\n\n" + _COPY + MIT, "MIT", True),
    ("license_text", _COPY + MIT.replace(" AND NONINFRINGEMENT", "").replace("AUTHORS OR", "FEN WORKS OR"), "MIT", True),
    ("license_text", "ISC License\n\n" + _COPY + ISC, "ISC", True),
    ("license_text", _COPY + ISC.replace(", provided that the above copyright notice and this permission notice appear "
                                         "in all copies", ""), "0BSD", True),
    ("license_text", _COPY + BSD_2 + "\n" + _DISCLAIMER, "BSD-2-Clause", True),
    ("license_text", _COPY + BSD_2 + BSD_3RD + "\n" + _DISCLAIMER, "BSD-3-Clause", True),
    ("license_text", _COPY + BSD_2 + BSD_4TH + BSD_3RD + "\n" + _DISCLAIMER, "BSD-4-Clause", True),
    ("license_text", "This project:\n" + MIT + "\n\nThe parser:\n" + BSD_2 + BSD_3RD + _DISCLAIMER, "BSD-3-Clause AND MIT", True),
    ("license_text", "Choose either of the following licenses at your option.\n\n" + MIT + "\n\nor\n\n" + ISC, "ISC OR MIT", True),
    ("license_text", GPL.format("Weir", "", _LATER.format(3)), "GPL-3.0-or-later", False),
    ("license_text", GPL.format("Weir", "Affero ", _LATER.format(3)), "AGPL-3.0-or-later", False),
    ("license_text", "See /usr/share/common-licenses/Apache-2.0 on Debian systems.", "Apache-2.0", True),
    # restrictions written into them
    ("license_text", _COPY + NOT_MIT.format(MIT), None, False),
    ("license_text", _COPY + MIT.replace("subject to the", "for non-commercial purposes only, subject to the"), None, False),
    ("license_text", "Commons Clause License Condition v1.0\n\n" + _COPY + MIT, None, False),
    ("license_text", _COPY + BSD_2 + "* Use by military organisations is prohibited.\n" + _DISCLAIMER, None, False),
    ("license_text", _COPY + BSD_2 + BSD_3RD + "* The software must not be sold, nor made part of what is sold.\n" + _DISCLAIMER,
     None, False),
    ("license_text", _COPY + MIT + "\nThe Software may not be used to train machine learning models.\n", None, False),
    ("license_text", "MIT License\n\nAI Weir, a machine learning library. Copyright 2022 Ada Fen.\n\n" + MIT, "MIT", True),
    ("license_text", "Free for commercial and non-commercial use.\n\n" + _COPY + MIT, "MIT", True),
    ("license_text", _DISCLAIMER, None, None),
    ("license_text", "Copyright 2020 Ada Fen. All rights reserved.", None, None),
    # headers
    ("source", comment(_COPY + MIT, "// ") + "int main() {}", "MIT", True),
    ("source", comment(_COPY + ISC, " * ") + "int main() {}", "ISC", True),
    ("source", comment(GPL.format("Weir", "", _LATER.format(2)), "dnl "), "GPL-2.0-or-later", False),
    ("source", comment(GPL.format("Weir", "", _ONLY.format(2)), "-- "), "GPL-2.0-only", False),
    ("source", comment(GPL.format("Weir", "Lesser ", _LATER.format("2.1")), "; "), "LGPL-2.1-or-later", False),
    ("source", "// Copyright 2018 The Weir Authors. All rights reserved.\n// Use of this source code is governed by a "
               "BSD-style\n// license that can be found in the LICENSE file.\npackage weir", "BSD-3-Clause", True),
    ("source", "// Copyright 2018 Fen Works\n// Use of this source code is governed by an MIT license\n// that can be "
               "found in the LICENSE file.\npackage weir", "MIT", True),
    ("source", '// Licensed under the Apache License, Version 2.0 (the "License");\n// you may not use this file except '
               "in compliance with the License.\nclass Weir {}", "Apache-2.0", True),
    ("source", "// Licensed under the Apache License, Version 2.0 <LICENSE-APACHE or\n// https://www.apache.org/licenses/"
               "LICENSE-2.0> or the MIT license\n// <LICENSE-MIT or https://opensource.org/licenses/MIT>, at your\n// "
               "option.\nfn main() {}", "Apache-2.0 OR MIT", True),
    ("source", "/*!\n * weir.js\n * Dual licensed under the MIT (MIT-LICENSE.txt)\n * and GPL (GPL-LICENSE.txt) licenses.\n */",
     "GPL-1.0-or-later OR MIT", True),
    ("source", "/* weir.js | (c) Ada Fen (MIT Licensed) */\nvar a = 1", "MIT", True),
    ("source", "/* Released under the MIT license and the GPL. */\nvar a = 1", "GPL-1.0-or-later AND MIT", False),
    ("source", "=head1 LICENSE\n\nThis library is free software; you may redistribute it and/or modify it under the same "
               "terms as Perl itself.\n", "Artistic-1.0-Perl OR GPL-1.0-or-later", False),
    ("source", "<?php\n/**\n * @license https://example.org/licenses/lgpl21 LGPL\n */", "LGPL-2.1-only", False),
    ("source", "<?php\n/**\n * @license MIT\n */", "MIT", True),
    ("source", "# -*- coding: utf-8 -*-\n__license__ = 'BSD'\n", "BSD-3-Clause", True),
    ("source", "// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception\n", "Apache-2.0 WITH LLVM-exception", True),
    ("source", "// SPDX-License-Identifier: LicenseRef-Fen-Proprietary\n", "LicenseRef-Fen-Proprietary", False),
    ("source", "# SPDX-License-Identifier: MIT\r\n# x\r\n", "MIT", True),
    # other people's, talk, nothing
    ("source", "# The sort below was taken from heron.py, released under the MIT license.\ndef sort(): pass\n", None, None),
    ("source", "# bundled with a copy of Heron (MIT licensed)\n", None, None),
    ("source", 'LICENSES = {"mit": "MIT License", "gpl": "GPL-3.0"}\ndef license_name(key): return LICENSES[key]\n', None, None),
    ("source", "def check(license):\n    if license in allowed:\n        return license\n", None, None),
    ("source", "# See the LICENSE file for the licence.\nimport os\n", None, None),
    ("source", "# Copyright 2020 Fen Works. All rights reserved. Do not distribute.\n", None, None),
    # metadata
    ("source", '{"name": "weir", "version": "1.0.0", "license": "(MIT OR Apache-2.0)"}', "Apache-2.0 OR MIT", True),
    ("source", '{"name": "weir", "licenses": [{"type": "GPLv2", "url": "x"}]}', "GPL-2.0-only", False),
    ("source", '{"name": "weir", "license": "UNLICENSED"}', None, False),
    ("source", '{"name": "weir", "license": "SEE LICENSE IN terms.txt"}', None, None),
    ("source", '{"packages": {"a": {"license": "MIT"}}, "lock": 1}', None, None),
    ("metadata", "Metadata-Version: 2.1\nName: weir\nLicense: BSD\nClassifier: License :: OSI Approved :: BSD License\n\nText",
     "BSD-3-Clause", True),
    ("metadata", "Metadata-Version: 2.4\nName: weir\nLicense-Expression: MIT AND (LGPL-2.1-only OR BSD-3-Clause)\n\n",
     "MIT AND (BSD-3-Clause OR LGPL-2.1-only)", True),
    ("metadata", "Metadata-Version: 2.1\nName: weir\nClassifier: License :: OSI Approved :: GNU General Public License v3 or later "
                 "(GPLv3+)\n\n", "GPL-3.0-or-later", False),
    ("metadata", "Metadata-Version: 2.1\nName: weir\nClassifier: License :: Other/Proprietary License\n\n", None, False),
    ("metadata", '[package]\nname = "weir"\nlicense = "MIT OR Apache-2.0"\n', "Apache-2.0 OR MIT", True),
    ("metadata", '[project]\nname = "weir"\nlicense = {text = "MPL-2.0"}\n', "MPL-2.0", False),
    ("metadata", 'Gem::Specification.new do |s|\n  s.licenses = ["MIT", "GPL-2.0-only"]\nend', "GPL-2.0-only AND MIT", False),
    ("metadata", "<project><licenses><license><name>The Apache Software License, Version 2.0</name></license></licenses></project>",
     "Apache-2.0", True),
    # READMEs and cards
    ("markdown", "# Weir\n\nA thing.\n\n## License\n\nBSD\n", "BSD-3-Clause", True),
    ("markdown", "# Weir\n\n## License\n\n[MIT](LICENSE) © [Ada Fen](https://fen.example)\n", "MIT", True),
    ("markdown", "# Weir\n\n## License\n\nThis project is licensed under the Apache License 2.0 - see LICENSE.\n", "Apache-2.0", True),
    ("markdown", "Weir\n====\n\nLicense\n-------\n\nGPLv3 or later, see COPYING.\n", "GPL-3.0-or-later", False),
    ("markdown", "# Weir\n\n> License: [ISC][l] &nbsp;\n\n[l]: https://fen.example\n", "ISC", True),
    ("markdown", "# Weir\n\n## License\n\nDual-licensed under MIT or Apache-2.0.\n", "Apache-2.0 OR MIT", True),
    ("markdown", "# Weir\n\n## Licence\n\nSee [LICENCE](LICENCE).\n", None, None),
    ("markdown", "# Weir\n\nIt finds the licence of packages: MIT, BSD, GPL and others are known.\n", None, None),
    ("markdown", "---\ntags: [a]\nlicense: cc-by-nc-4.0\n---\n# Weir data\n", "CC-BY-NC-4.0", False),
    ("markdown", "---\nlicense: apache-2.0\n---\n# Weir\n", "Apache-2.0", True),
    ("markdown", "---\nlicense:\n- mit\n- cc-by-sa-4.0\n---\n# Weir\n", "CC-BY-SA-4.0 AND MIT", False),
    ("markdown", "---\nlicense: other\n---\n# Weir\n", None, None),
]  # fmt: skip
