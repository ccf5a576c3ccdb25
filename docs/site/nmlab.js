"use strict";
// Browsers let no page of a folder read the index of the search; where the site is read without a server it is left out.
if (location.protocol === "file:") document.documentElement.classList.add("read-from-a-folder");
