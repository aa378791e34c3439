// Sets the chosen theme before anything is painted. A classic script, because modules run too late for that.
const chosen = localStorage.getItem("theme");
if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
