-- Pushes the tracked functions of a project when one of its Python files is saved.
-- A project is the nearest folder upward with a pyproject.toml that has [tool.scatter].

local function project_of(file)
  local found = vim.fn.findfile("pyproject.toml", vim.fn.fnamemodify(file, ":p:h") .. ";")
  if found == "" then
    return nil
  end
  for _, line in ipairs(vim.fn.readfile(found)) do
    if line:match("^%[tool%.scatter[%].]") then
      return vim.fn.fnamemodify(found, ":p:h")
    end
  end
end

local function push(folder)
  if vim.fn.executable("scatter") == 0 then
    vim.notify("scatter is not on PATH: activate its environment.", vim.log.levels.ERROR)
    return
  end
  local said = {}
  local function hear(_, lines)
    vim.list_extend(said, lines)
  end
  vim.fn.jobstart({ "scatter", "push" }, {
    cwd = folder,
    stdout_buffered = true,
    stderr_buffered = true,
    on_stdout = hear,
    on_stderr = hear,
    on_exit = function(_, code)
      local level = code == 0 and vim.log.levels.INFO or vim.log.levels.ERROR
      vim.notify(vim.trim(table.concat(said, "\n")), level)
    end,
  })
end

vim.api.nvim_create_autocmd("BufWritePost", {
  group = vim.api.nvim_create_augroup("scatter", { clear = true }),
  pattern = "*.py",
  callback = function(event)
    local folder = project_of(event.file)
    if folder then
      push(folder)
    end
  end,
})
